// Mines one gitcoin: `miner CLONE_URL USERNAME`.
package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// git is what a git command says; trouble ends the program.
func git(input []byte, arguments ...string) string {
	command := exec.Command("git", arguments...)
	command.Stdin = bytes.NewReader(input)
	command.Stderr = os.Stderr
	output, err := command.Output()
	check(err)
	return strings.TrimSpace(string(output))
}

// raiseEntry is the ledger's text with one coin more for the user.
func raiseEntry(ledger, user string) string {
	lines := strings.Split(strings.TrimRight(ledger, "\n"), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, user+": ") {
			balance, err := strconv.Atoi(line[len(user)+2:])
			check(err)
			lines[i] = fmt.Sprintf("%s: %d", user, balance+1)
			return strings.Join(lines, "\n") + "\n"
		}
	}
	return strings.Join(lines, "\n") + "\n" + user + ": 1\n"
}

// prepare gives the commit's text up to the nonce.
func prepare(user string) string {
	ledger, err := os.ReadFile("LEDGER.txt")
	check(err)
	check(os.WriteFile("LEDGER.txt", []byte(raiseEntry(string(ledger), user)), 0o644))
	git(nil, "add", "LEDGER.txt")
	tree := git(nil, "write-tree")
	head := git(nil, "rev-parse", "HEAD")
	person := fmt.Sprintf("%s <%s@localhost> %d +0000", user, user, time.Now().Unix())
	return fmt.Sprintf("tree %s\nparent %s\nauthor %s\ncommitter %s\n\nGive me a coin: ",
		tree, head, person, person)
}

// search finds a commit whose id comes before the difficulty, both as hex digits.
func search(text, difficulty string) []byte {
	for nonce := 0; ; nonce++ {
		commit := fmt.Sprintf("%s%d\n", text, nonce)
		id := sha1.Sum([]byte(fmt.Sprintf("commit %d\x00%s", len(commit), commit)))
		if hex.EncodeToString(id[:]) < difficulty {
			return []byte(commit)
		}
	}
}

func main() {
	url, user := os.Args[1], os.Args[2]
	git(nil, "clone", "--quiet", url, "chain")
	check(os.Chdir("chain"))
	difficulty, err := os.ReadFile("difficulty.txt")
	check(err)
	commit := search(prepare(user), strings.TrimSpace(string(difficulty)))
	found := git(commit, "hash-object", "-t", "commit", "-w", "--stdin")
	git(nil, "push", "--quiet", "origin", found+":refs/heads/master")
	fmt.Println("landed", found)
}
