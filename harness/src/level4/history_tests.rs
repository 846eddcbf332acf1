//! Tests of the history check: right histories of every kind, and one wrong one of each kind.

use super::*;
use crate::level4::query::Generator;

/// A simulated cluster that is asked and answers in virtual time.
#[derive(Default)]
struct Cluster {
    history: History,
    table: Table,
    next_number: u64,
}

impl Cluster {
    fn ask(&mut self, query: &super::super::query::Query, start_us: u64) -> usize {
        self.history.begin(Attempt {
            query: query.id,
            attempt: 1,
            node: query.node,
            what: query.what.clone(),
            start_us,
            end_us: None,
            outcome: Outcome::Open,
        })
    }

    /// Executes a request and returns what its answer would be.
    fn execute(&mut self, place: usize) -> Outcome {
        let number = self.next_number;
        self.next_number += 1;
        let output = match &self.history.attempts[place].what {
            Statement::Boot if number == 0 => Vec::new(),
            Statement::Boot => b"Error: near line 1: table ctf3 already exists\n".to_vec(),
            Statement::Update(update) => {
                self.table[update.person].apply(update);
                print(&self.table).into_bytes()
            }
        };
        Outcome::Answer { number, output }
    }
}

/// The first queries, one after the other, each answered before the next is sent.
fn serial(count: usize) -> Cluster {
    let mut cluster = Cluster::default();
    for query in Generator::new(3, 5).take(count) {
        let place = cluster.ask(&query, query.id * 10);
        let answer = cluster.execute(place);
        cluster.history.end(place, query.id * 10 + 5, answer);
    }
    cluster
}

fn output(history: &mut History, place: usize) -> &mut Vec<u8> {
    match &mut history.attempts[place].outcome {
        Outcome::Answer { output, .. } => output,
        other => panic!("no answer but {other:?}"),
    }
}

#[test]
fn a_serial_history_is_right() {
    let verdict = serial(500).history.check();
    assert_eq!(
        verdict,
        Verdict {
            checked: 500,
            unanswered_numbers: 0,
            violation: None
        }
    );
}

#[test]
fn requests_at_the_same_time_may_have_any_order() {
    let mut cluster = Cluster::default();
    let queries: Vec<_> = Generator::new(5, 5).take(101).collect();
    let boot = cluster.ask(&queries[0], 0);
    let answer = cluster.execute(boot);
    cluster.history.end(boot, 5, answer);
    for batch in queries[1..].chunks(10) {
        let start = batch[0].id * 100;
        let places: Vec<_> = batch
            .iter()
            .map(|query| cluster.ask(query, start))
            .collect();
        for place in places.into_iter().rev() {
            let answer = cluster.execute(place);
            cluster.history.end(place, start + 50, answer);
        }
    }
    assert_eq!(cluster.history.check().violation, None);
}

#[test]
fn lost_answers_are_open_intervals_executed_late_or_never() {
    let mut cluster = serial(20);
    let queries: Vec<_> = Generator::new(3, 5).take(60).collect();
    // Three lose their answers: one is never executed, two are, much later.
    let lost: Vec<_> = (20..23).map(|i| cluster.ask(&queries[i], 1000)).collect();
    for &place in &lost {
        cluster
            .history
            .end(place, 1010, Outcome::Lost("connection closed".to_owned()));
    }
    for query in &queries[23..50] {
        let place = cluster.ask(query, 2000 + query.id * 10);
        if query.id == 30 {
            cluster.execute(lost[2]);
            cluster.execute(lost[0]);
        }
        let answer = cluster.execute(place);
        cluster.history.end(place, 2005 + query.id * 10, answer);
    }
    let verdict = cluster.history.check();
    assert_eq!(verdict.violation, None);
    assert_eq!(verdict.unanswered_numbers, 2);
}

#[test]
fn a_lost_request_that_was_executed_twice_is_found() {
    let mut cluster = serial(20);
    let queries: Vec<_> = Generator::new(3, 5).take(60).collect();
    let lost = cluster.ask(&queries[20], 1000);
    for query in &queries[21..40] {
        let place = cluster.ask(query, 2000 + query.id * 10);
        if query.id == 25 || query.id == 30 {
            cluster.execute(lost);
        }
        let answer = cluster.execute(place);
        cluster.history.end(place, 2005 + query.id * 10, answer);
    }
    let violation = cluster.history.check().violation.unwrap();
    assert!(
        violation.message.contains("no lost requests account for"),
        "{violation:?}"
    );
}

#[test]
fn a_number_given_twice_is_shown_by_two_requests() {
    let mut cluster = serial(20);
    let copy = cluster.history.attempts[7].outcome.clone();
    cluster.history.attempts[12].outcome = copy;
    let violation = cluster.history.check().violation.unwrap();
    assert_eq!(violation.message, "number 7 was given twice");
    assert_eq!(violation.requests.len(), 2);
}

#[test]
fn an_order_against_real_time_is_shown_by_two_requests() {
    let mut cluster = serial(20);
    let queries: Vec<_> = Generator::new(3, 5).take(22).collect();
    // The later request is executed first although the earlier one was answered before it began.
    let early = cluster.ask(&queries[20], 1000);
    let late = cluster.ask(&queries[21], 1100);
    let late_answer = cluster.execute(late);
    let early_answer = cluster.execute(early);
    cluster.history.end(early, 1050, early_answer);
    cluster.history.end(late, 1150, late_answer);
    let violation = cluster.history.check().violation.unwrap();
    assert_eq!(
        violation.message,
        "number 21 was answered before number 20 was asked for"
    );
    assert!(violation.requests[0].contains("query 21"), "{violation:?}");
    assert!(violation.requests[1].contains("query 20"), "{violation:?}");
}

#[test]
fn a_stale_read_names_the_update_that_it_misses() {
    let mut cluster = serial(20);
    let Statement::Update(own) = cluster.history.attempts[15].what.clone() else {
        panic!()
    };
    let mut stale = read(output(&mut cluster.history, 12)).unwrap();
    stale[own.person].apply(&own);
    *output(&mut cluster.history, 15) = print(&stale).into_bytes();
    let violation = cluster.history.check().violation.unwrap();
    assert!(
        violation.message.contains("as it was after number 12"),
        "{violation:?}"
    );
    assert_eq!(violation.requests.len(), 2);
    assert!(
        violation.requests[0].starts_with("number 13:"),
        "{violation:?}"
    );
}

#[test]
fn a_lost_update_is_named() {
    let mut cluster = serial(10);
    let Statement::Update(forgotten) = cluster.history.attempts[4].what.clone() else {
        panic!()
    };
    let mut table = read(output(&mut cluster.history, 9)).unwrap();
    table[forgotten.person].friends -= forgotten.friends;
    table[forgotten.person].requests -= 1;
    *output(&mut cluster.history, 9) = print(&table).into_bytes();
    let violation = cluster.history.check().violation.unwrap();
    assert_eq!(
        violation.message,
        "number 9 shows a table without the change of number 4"
    );
    assert_eq!(violation.requests.len(), 2);
}

#[test]
fn numbers_that_no_request_accounts_for_are_found() {
    let mut cluster = serial(10);
    cluster.next_number += 1;
    let query = Generator::new(3, 5).nth(10).unwrap();
    let place = cluster.ask(&query, 500);
    let answer = cluster.execute(place);
    cluster.history.end(place, 510, answer);
    let violation = cluster.history.check().violation.unwrap();
    assert!(
        violation.message.contains("numbers 10 to 10"),
        "{violation:?}"
    );
}
