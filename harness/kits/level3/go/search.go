// A code search with a master and three nodes: `search start-servers [--base-port 9090]`.
//
// A node keeps every third file in memory and looks at each of their lines for each query.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"unicode/utf8"
)

const (
	nodes   = 3
	maxFile = 1 << 20
)

type line struct {
	path   string
	number int
	text   string
}

type node struct {
	number int
	mutex  sync.Mutex
	lines  []line
	ready  bool
}

func answer(writer http.ResponseWriter, status int, body interface{}) {
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	json.NewEncoder(writer).Encode(body)
}

func success(writer http.ResponseWriter, status int) {
	answer(writer, status, map[string]bool{"success": status == http.StatusOK})
}

// readText gives a file's text, and whether it is to be indexed.
func readText(path string) (string, bool) {
	data, err := os.ReadFile(path)
	if err != nil || len(data) > maxFile || !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return "", false
	}
	return string(data), true
}

func (n *node) index(root string) {
	var lines []line
	count := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if path != root && strings.HasPrefix(entry.Name(), ".") {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		count++
		if count%nodes != n.number-1 {
			return nil
		}
		text, ok := readText(path)
		if !ok {
			return nil
		}
		shown, err := filepath.Rel(root, path)
		for i, content := range strings.Split(text, "\n") {
			lines = append(lines, line{shown, i + 1, content})
		}
		return err
	})
	if err != nil {
		log.Print(err)
	}
	n.mutex.Lock()
	n.lines, n.ready = lines, true
	n.mutex.Unlock()
}

func (n *node) search(needle string) []string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	found := []string{}
	for _, l := range n.lines {
		if strings.Contains(l.text, needle) {
			found = append(found, fmt.Sprintf("%s:%d", l.path, l.number))
		}
	}
	return found
}

func (n *node) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	switch request.URL.Path {
	case "/index":
		n.mutex.Lock()
		n.ready = false
		n.mutex.Unlock()
		go n.index(request.FormValue("path"))
		success(writer, http.StatusOK)
	case "/isIndexed":
		n.mutex.Lock()
		ready := n.ready
		n.mutex.Unlock()
		if ready {
			success(writer, http.StatusOK)
		} else {
			success(writer, http.StatusBadGateway)
		}
	case "/":
		answer(writer, http.StatusOK, n.search(request.FormValue("q")))
	default:
		success(writer, http.StatusOK)
	}
}

type master struct {
	basePort int
}

func (m *master) ask(number int, target string) (int, []byte, error) {
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", m.basePort+number, target))
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode, body, err
}

func (m *master) search(needle string) []string {
	results := []string{}
	for number := 1; number <= nodes; number++ {
		_, body, err := m.ask(number, "/?q="+url.QueryEscape(needle))
		if err != nil {
			continue // Nobody is there, so nothing is found there.
		}
		var found []string
		json.Unmarshal(body, &found)
		results = append(results, found...)
	}
	return results
}

func (m *master) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	path := request.URL.Path
	if path == "/" {
		needle := request.FormValue("q")
		if needle == "" {
			success(writer, http.StatusBadRequest)
			return
		}
		results := m.search(needle)
		answer(writer, http.StatusOK, map[string]interface{}{"success": true, "results": results})
		return
	}
	if path == "/index" {
		root := request.FormValue("path")
		if info, err := os.Stat(root); err != nil || !info.IsDir() {
			success(writer, http.StatusNotFound)
			return
		}
		path += "?path=" + url.QueryEscape(root)
	}
	for number := 1; number <= nodes; number++ {
		status, _, err := m.ask(number, path)
		if err != nil || status != http.StatusOK {
			success(writer, http.StatusBadGateway)
			return
		}
	}
	success(writer, http.StatusOK)
}

func startServers(basePort string) {
	roles := [][]string{{"--master"}, {"--id", "1"}, {"--id", "2"}, {"--id", "3"}}
	var children []*exec.Cmd
	for _, role := range roles {
		child := exec.Command(os.Args[0], append(role, "--base-port", basePort)...)
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			log.Fatal(err)
		}
		children = append(children, child)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	for _, child := range children {
		child.Process.Kill()
	}
}

func main() {
	arguments := os.Args[1:]
	starts := len(arguments) > 0 && arguments[0] == "start-servers"
	if starts {
		arguments = arguments[1:]
	}
	flags := flag.NewFlagSet("search", flag.ExitOnError)
	basePort := flags.Int("base-port", 9090, "port of the master; the nodes have the next three")
	isMaster := flags.Bool("master", false, "be the master")
	id := flags.Int("id", 0, "be this node")
	flags.Parse(arguments)
	switch {
	case starts:
		startServers(fmt.Sprint(*basePort))
	case *isMaster:
		log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *basePort), &master{*basePort}))
	default:
		address := fmt.Sprintf("127.0.0.1:%d", *basePort+*id)
		log.Fatal(http.ListenAndServe(address, &node{number: *id}))
	}
}
