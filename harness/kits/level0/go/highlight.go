// Marks the words of standard input that the dictionary, the first argument, does not know.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

func readDictionary(path string) (map[string]bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	for _, line := range strings.Split(string(text), "\n") {
		known[line] = true
	}
	return known, nil
}

// lower is the word in lower case, as far as it is ASCII.
func lower(word []byte) string {
	folded := make([]byte, len(word))
	for i, c := range word {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded[i] = c
	}
	return string(folded)
}

func highlight(document []byte, known map[string]bool, output *bufio.Writer) {
	for i := 0; i < len(document); {
		start := i
		for i < len(document) && document[i] != ' ' && document[i] != '\n' {
			i++
		}
		word := document[start:i]
		if len(word) > 0 && !known[lower(word)] {
			fmt.Fprintf(output, "<%s>", word)
		} else {
			output.Write(word)
		}
		if i < len(document) {
			output.WriteByte(document[i])
			i++
		}
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: highlight DICTIONARY < document")
	}
	known, err := readDictionary(os.Args[1])
	if err != nil {
		return err
	}
	document, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	output := bufio.NewWriter(os.Stdout)
	highlight(document, known, output)
	return output.Flush()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
}
