//! A client library made for rqlite, unchanged, through every node.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::cluster;
use rqlite_rs::{RqliteClient, RqliteClientBuilder, query};

/// A client that knows one node.
fn client(address: &str) -> RqliteClient {
    RqliteClientBuilder::new()
        .known_host(address)
        .build()
        .unwrap()
}

#[tokio::test]
async fn rqlite_rs_creates_fills_and_queries_through_any_node() {
    let root = tempfile::tempdir().unwrap();
    let nodes = cluster(root.path(), 3);
    let clients: Vec<RqliteClient> = nodes.iter().map(|node| client(&node.address)).collect();
    let create = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, size REAL, data BLOB)";
    clients[1].exec(create).await.unwrap();
    for (client, id) in clients.iter().zip(1i64..) {
        let name = format!("it's node {id}");
        let data = vec![0u8, id as u8, 255];
        let insert = "INSERT INTO t (name, size, data) VALUES (?, ?, ?)";
        let inserted = client
            .exec(query!(insert, name, id as f64 + 0.5, data))
            .await
            .unwrap();
        assert_eq!(inserted.last_insert_id(), Some(id));
        assert_eq!(inserted.rows_affected(), Some(1));
    }
    for client in &clients {
        assert!(client.ready().await);
        let rows = client
            .fetch(query!("SELECT name, size, data FROM t WHERE id > ?", 1i64))
            .await
            .unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].get::<String>("name").unwrap(), "it's node 3");
        assert!((rows[1].get::<f64>("size").unwrap() - 3.5).abs() < 1e-9);
        assert_eq!(rows[1].get::<Vec<u8>>("data").unwrap(), [0, 3, 255]);
    }
    // All or nothing.
    let both = ["UPDATE t SET size = 0", "INSERT INTO t (id) VALUES (1)"];
    let results = clients[2].transaction(both.to_vec()).await.unwrap();
    assert_eq!(results.len(), 2);
    let untouched = clients[0]
        .fetch("SELECT count(*) AS n FROM t WHERE size > 1")
        .await
        .unwrap();
    assert_eq!(untouched[0].get::<i64>("n").unwrap(), 3);
    let failed = clients[0].fetch("SELECT * FROM nowhere").await.unwrap_err();
    assert!(
        failed.to_string().contains("no such table: nowhere"),
        "{failed}"
    );
    let members = clients[0].nodes().await.unwrap();
    assert_eq!(members.len(), 3);
    let leader = clients[1].leader().await.unwrap().unwrap();
    assert!(nodes.iter().any(|node| node.address == leader.raft_addr));
}
