//! The game over HTTP: who may clone, who may push, and what is not served.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Output,
};

use harness::level1::{
    scoreboard::{Phase, RoundInfo, Standing},
    server::Server,
};
use serde_json::Value;

use crate::support::{Chain, TOKEN};

struct Web {
    chain: Chain,
}

impl Web {
    fn new() -> Self {
        Self {
            chain: Chain::new(),
        }
    }

    fn server(&self) -> &Server {
        &self.chain.web
    }

    fn url(&self, login: &str) -> String {
        format!("http://{login}{}/level1", self.server().address())
    }

    /// Pushes a coin for `name` with a login such as `ada:token@`.
    fn push(&self, login: &str, name: &str) -> Output {
        let commit = self
            .chain
            .commit(&[self.chain.head()], &self.chain.files_with_coin(name));
        let mut command = self.chain.clone.command();
        command.args([
            "push",
            "--quiet",
            &self.url(login),
            &format!("{commit}:refs/heads/master"),
        ]);
        command.output().unwrap()
    }

    /// A plain request; returns the whole response.
    fn request(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.server().address()).unwrap();
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }
}

#[test]
fn a_player_pushes_with_its_token_only_and_for_itself_only() {
    let web = Web::new();
    let head = web.chain.head();
    for login in ["", "ada:wrong@", "eve:0123456789abcdef@", "ada:@"] {
        let output = web.push(login, "ada");
        assert!(!output.status.success(), "{login} was let in");
        assert_eq!(web.chain.head(), head);
    }
    assert_eq!(web.server().site().attempts("ada"), 0);

    let login = format!("ada:{TOKEN}@");
    let output = web.push(&login, "bob l.@b-c_d");
    web.chain.assert_refused(
        head,
        &output,
        "owner",
        "may not raise the entry of bob l.@b-c_d",
    );
    let output = web.push(&login, "ada");
    assert!(output.status.success(), "{output:?}");
    let output = web.push(&format!("bob%20l.%40b-c_d:{TOKEN}@"), "bob l.@b-c_d");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(web.server().site().attempts("ada"), 2);
    assert_eq!(web.chain.server.audit(web.chain.head()).unwrap(), 2);
}

#[test]
fn the_sites_own_url_works() {
    let web = Web::new();
    let url = web
        .server()
        .site()
        .url(web.server().address(), Some("bob l.@b-c_d"));
    assert_eq!(url, web.url(&format!("bob%20l.%40b-c_d:{TOKEN}@")));
    assert_eq!(
        web.server().site().url(web.server().address(), Some("eve")),
        web.url("")
    );
}

#[test]
fn everybody_may_clone() {
    let web = Web::new();
    web.chain.land("ada");
    let target = web.chain.path("cloned");
    let mut command = web.chain.clone.command();
    command
        .args(["clone", "--quiet", &web.url("")])
        .arg(&target);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let ledger = std::fs::read_to_string(target.join("LEDGER.txt")).unwrap();
    assert!(ledger.ends_with("ada: 1\n"), "{ledger}");
}

#[test]
fn only_the_smart_protocol_is_served() {
    let web = Web::new();
    for path in [
        "/level1/config",
        "/level1/HEAD",
        "/level1/hooks/pre-receive",
        "/level1/gitcoin-journal.jsonl",
        "/level1/objects/info/packs",
        "/level1/info/refs",
        "/level1/info/refs?service=git-upload-archive",
        "/clone.git/info/refs?service=git-upload-pack",
        "/level1/../clone.git/info/refs?service=git-upload-pack",
        "/nothing",
    ] {
        let response = web.request(&format!("GET {path}"));
        assert!(response.starts_with("HTTP/1.1 404"), "{path}: {response}");
    }
    let response = web.request("GET /level1/info/refs?service=git-receive-pack");
    assert!(response.starts_with("HTTP/1.1 401"), "{response}");
    assert!(response.contains("www-authenticate: Basic"), "{response}");
}

#[test]
fn the_scoreboard_shows_the_ledger() {
    let web = Web::new();
    web.chain.land("ada");
    let page = web.request("GET /");
    assert!(
        page.starts_with("HTTP/1.1 200")
            && page.contains("<td>ada</td><td class=\"number\">1</td>"),
        "{page}"
    );
    let response = web.request("GET /scoreboard.json");
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    let board: Value = serde_json::from_str(body).unwrap();
    assert_eq!(board["coins"][0]["name"], "ada");
    // Who has none is there, too.
    assert_eq!(board["coins"].as_array().unwrap().len(), 3);
    assert_eq!(board["coins"][2]["coins"], 0);
    assert_eq!(board["path"], "/level1");
    assert_eq!(board["head"], web.chain.head().to_string());
}

/// The status line and the head of an answer, whose body goes on.
fn open_stream(web: &Web, path: &str) -> (String, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(web.server().address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
    }
    (head, stream)
}

#[test]
fn an_open_page_is_told_of_a_coin_and_of_the_end() {
    let web = Web::new();
    let (head, stream) = open_stream(&web, "/events");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let coin = "<td>ada</td><td class=\"number\">1</td>";
    let mut lines = stream.lines().map(Result::unwrap);
    let first = lines.find(|line| line.starts_with("data: ")).unwrap();
    assert!(!first.contains(coin), "{first}");
    web.chain.land("ada");
    assert!(lines.any(|line| line.contains(coin)));
    let Web { chain } = web;
    drop(chain.web);
    // The stream ends with the server.
    assert!(lines.all(|line| !line.starts_with("HTTP")));
}

#[test]
fn pages_that_are_open_leave_places_for_miners() {
    let web = Web::new();
    let mut streams = Vec::new();
    let refused = loop {
        let (head, stream) = open_stream(&web, "/events");
        if !head.starts_with("HTTP/1.1 200") {
            break head;
        }
        streams.push(stream);
        assert!(streams.len() <= 64, "there is no limit");
    };
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(web.request("GET /").starts_with("HTTP/1.1 200"));
    web.chain.land("ada");
}

#[test]
fn a_frozen_board_shows_coins_when_the_round_is_over() {
    let web = Web::new();
    let standing = |phase| Standing {
        phase,
        round: Some(RoundInfo {
            number: 7,
            start_s: 100,
            end_s: u64::MAX / 2000,
            bonus_points: 50,
            freeze_s: Some(200),
        }),
        ..Standing::default()
    };
    web.server().site().set_standing(standing(Phase::Round));
    web.chain.land("ada");
    let board = web.server().site().scoreboard().unwrap();
    assert!(board.frozen);
    assert!(board.coins.iter().all(|line| line.coins == 0));
    let page = web.request("GET /");
    assert!(page.contains("Frozen:"), "{page}");
    web.server().site().set_standing(standing(Phase::Over));
    let board = web.server().site().scoreboard().unwrap();
    assert_eq!((board.frozen, board.coins[0].coins), (false, 1));
}

#[test]
fn a_page_loads_nothing_from_elsewhere_and_says_how_to_play() {
    let web = Web::new();
    let page = web.request("GET /");
    assert!(
        page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    assert!(
        page.contains("git clone http://<b>NAME:TOKEN</b>@x/level1"),
        "{page}"
    );
    assert!(!page.contains(TOKEN));
    for (path, kind) in [
        ("/scoreboard.css", "text/css"),
        ("/scoreboard.js", "text/javascript"),
        ("/rounds.csv", "text/csv"),
        ("/rounds.json", "application/json"),
    ] {
        let answer = web.request(&format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        assert!(
            answer.contains(&format!("content-type: {kind}")),
            "{path}: {answer}"
        );
    }
    // No book is kept here, so there are no rounds.
    for path in ["/rounds/1", "/rounds/1/coins.csv"] {
        let answer = web.request(&format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}
