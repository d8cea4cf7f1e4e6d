//! Orders over HTTPS: what clients that trust the service get, and what the others are told.

use e2e::{Fleet, PLENTY, order, saga, until};

#[tokio::test]
async fn orders_are_placed_followed_and_listed_over_https() {
    let fleet = Fleet::start_https(&[("HTTP_ACCESS_LOG", "1"), ("LOG_FORMAT", "text")]).await;
    let placed = fleet.place(&order("credit_card", PLENTY, 1)).await;
    fleet.reaches(placed, "CONFIRMED").await;
    let (ca_file, url) = (fleet.ca_file().display().to_string(), fleet.order_url.clone());

    let id = placed.to_string();
    let show = async |url: &str, more: &[&str]| {
        let arguments = [&["order", "get", &id, "--url", url], more].concat();
        let output = saga(&arguments).output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (shown, said) = show(&url, &["--ca-file", &ca_file]).await;
    assert!(shown && said.contains("CONFIRMED"), "{said}");
    let (shown, said) = show(&url, &[]).await;
    assert!(!shown && said.contains("name the file of its authority"), "{said}");
    let (shown, said) = show(&url.replace("https:", "http:"), &[]).await;
    assert!(!shown && said.contains("write https:// in the address"), "{said}");

    let line = until(|| async {
        let log = fleet.process("order").log();
        let line = log.lines().find(|line| line.contains("\"POST /orders HTTP/1.1\" 201 "));
        line.map(str::to_owned).ok_or(log)
    });
    let line = line.await;
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    fleet.close().await;
}
