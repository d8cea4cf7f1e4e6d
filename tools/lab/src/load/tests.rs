use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use uuid::Uuid;

use super::*;

const TAKES: Duration = Duration::from_millis(30);

/// Takes one order at a time, each for a while, and ends it; records their sequence.
async fn slow_service(takes: Duration) -> (Api, Arc<Mutex<Vec<Instant>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::<Mutex<Vec<Instant>>>::default();
    let one_at_a_time = Arc::new(tokio::sync::Mutex::new(()));
    let book = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (book, turn) = (Arc::clone(&book), Arc::clone(&one_at_a_time));
            tokio::spawn(async move {
                let request = read(&mut socket).await;
                let (status, body) = if request.starts_with("POST /orders ") {
                    book.lock().unwrap().push(Instant::now());
                    let _turn = turn.lock().await;
                    sleep(takes).await;
                    (
                        "201 Created",
                        format!(r#"{{"order_id":"{}","status":"PENDING"}}"#, Uuid::nil()),
                    )
                } else {
                    ("200 OK", format!(r#"{{"order_id":"{}","status":"CONFIRMED"}}"#, Uuid::nil()))
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                socket.write_all(answer.as_bytes()).await.ok();
            });
        }
    });
    (Api::at(&url), taken)
}

async fn read(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    let is_whole = |request: &[u8]| {
        let text = String::from_utf8_lossy(request);
        let is_post = text.starts_with("POST");
        text.split_once("\r\n\r\n").is_some_and(|(_, body)| !is_post || body.ends_with('}'))
    };
    while !is_whole(&request) {
        let read = socket.read(&mut piece).await.unwrap_or(0);
        if read == 0 {
            break;
        }
        request.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// Does not wait for endings.
fn load(orders: usize) -> Load {
    let load = Load { orders, ..Load::default() };
    load.over.cancel();
    load
}

#[tokio::test]
async fn in_an_open_loop_the_time_counts_from_when_the_order_was_due() {
    let (api, _) = slow_service(TAKES).await;
    // Ten are due within 45 ms, and taken one after the other in 300.
    let open = Load { rate: Some(200), in_flight: 1, ..load(10) };
    let report = run(std::slice::from_ref(&api), &open, |_, _| {}).await;
    assert_eq!((report.placed, report.unfinished), (10, 10));
    let last_waits = TAKES * 10 - Duration::from_millis(45);
    assert!(report.post_ms.max >= last_waits.as_secs_f64() * 1000.0, "{:?}", report.post_ms);
    assert!(report.post_ms.p50 >= 100.0, "{:?}", report.post_ms);
}

#[tokio::test]
async fn in_a_closed_loop_an_order_is_placed_when_there_is_room_for_it() {
    let (api, taken) = slow_service(TAKES).await;
    let report = run(&[api], &Load { in_flight: 1, ..load(5) }, |_, _| {}).await;
    assert_eq!(report.placed, 5);
    for pair in taken.lock().unwrap().windows(2) {
        assert!(pair[1] - pair[0] >= TAKES, "{pair:?}");
    }
}

#[tokio::test]
async fn an_open_loop_places_an_order_when_it_is_due_however_many_are_waiting() {
    let takes = TAKES * 10;
    let (api, taken) = slow_service(takes).await;
    let open = Load { rate: Some(200), in_flight: 100, ..load(10) };
    run(&[api], &open, |_, _| {}).await;
    let taken = taken.lock().unwrap();
    let took = taken[9].duration_since(taken[0]);
    assert!(took < takes * 9, "the tenth came {took:?} after the first");
}

#[tokio::test]
async fn what_is_placed_before_the_warm_up_is_over_does_not_count() {
    let (api, taken) = slow_service(TAKES).await;
    let warm_up = Duration::from_millis(100);
    let load = Load {
        rate: Some(100),
        length: Some(Duration::from_millis(200)),
        warm_up,
        ..load(usize::MAX)
    };
    let report = run(&[api], &load, |_, _| {}).await;
    assert_eq!((report.warm_up_orders, report.placed), (10, 20));
    assert_eq!(taken.lock().unwrap().len(), 30);
    assert_eq!(report.told.placed.map(|told| told.len()), Some(30));
}
