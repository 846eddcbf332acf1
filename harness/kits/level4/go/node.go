// One node that answers SQL by itself: `node -l ./node0.sock -d DIR [--join ./node0.sock]`.
// It needs the command `sqlite3`.
//
// It does not talk to the other nodes. That is where the work begins.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
)

type database struct {
	mutex  sync.Mutex
	number int
}

// execute gives the output of a request, after its sequence number: requests are executed one by
// one.
func (d *database) execute(sql string) string {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	shell := exec.Command("sqlite3", "data.sqlite")
	shell.Stdin = strings.NewReader(sql + ";\n")
	var output, trouble bytes.Buffer
	shell.Stdout, shell.Stderr = &output, &trouble
	answer := &output
	if shell.Run() != nil {
		// The shell ends with an error, and its last words are the answer.
		answer = &trouble
	}
	number := d.number
	d.number++
	return fmt.Sprintf("SequenceNumber: %d\n%s", number, answer)
}

func (d *database) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	if request.Method != http.MethodPost || request.URL.Path != "/sql" {
		http.NotFound(writer, request)
		return
	}
	sql, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	io.WriteString(writer, d.execute(string(sql)))
}

func listen(address string) (net.Listener, error) {
	if strings.HasPrefix(address, "/") || strings.HasPrefix(address, ".") {
		// A socket that was left behind by a killed process.
		os.Remove(address)
		return net.Listen("unix", address)
	}
	return net.Listen("tcp", address)
}

func main() {
	address := flag.String("l", "127.0.0.1:4000", "where to listen")
	folder := flag.String("d", ".", "where to keep data")
	flag.String("join", "", "a node of the cluster")
	flag.Parse()
	if err := os.MkdirAll(*folder, 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.Chdir(*folder); err != nil {
		log.Fatal(err)
	}
	listener, err := listen(*address)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, &database{}))
}
