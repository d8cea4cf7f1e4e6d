use std::io::ErrorKind;

use tokio::time::timeout;

use super::*;

/// Answers every piece of data with the same bytes.
async fn echo() -> u16 {
    let port = ports::free().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await.ok();
            });
        }
    });
    port
}

async fn asked(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    let mut answer = [0; 4];
    stream.write_all(b"ping").await?;
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

async fn given() -> (Proxy, TcpStream) {
    // The first target does not listen: it is skipped.
    let proxy = Proxy::start(vec![ports::free().unwrap(), echo().await]).await.unwrap();
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
    (proxy, stream)
}

#[tokio::test]
async fn a_lost_answer_is_a_reset() {
    let (proxy, mut stream) = given().await;
    assert_eq!(&asked(&mut stream).await.unwrap(), b"ping");
    proxy.set(Weather::AnswersLost);
    assert_eq!(asked(&mut stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(proxy.cut(), 1);
}

#[tokio::test]
async fn silence_is_told_to_nobody_until_it_is_over() {
    let (proxy, mut stream) = given().await;
    proxy.set(Weather::Silent);
    let waiting = timeout(Duration::from_millis(200), asked(&mut stream)).await;
    assert!(waiting.is_err(), "{waiting:?}");
    proxy.set(Weather::Clear);
    assert_eq!(stream.read(&mut [0; 4]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
    assert_eq!(&asked(&mut stream).await.unwrap(), b"ping");
}

#[tokio::test]
async fn what_is_swallowed_stays_so_for_ever_and_new_connections_work() {
    for what in Swallowed::ALL {
        let (proxy, mut stream) = given().await;
        assert_eq!(&asked(&mut stream).await.unwrap(), b"ping");
        assert_eq!(proxy.swallow(what), 1, "{what:?}");
        let waiting = timeout(Duration::from_millis(200), asked(&mut stream)).await;
        assert!(waiting.is_err(), "{what:?}: {waiting:?}");
        proxy.set(Weather::Clear);
        let mut new = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.unwrap();
        assert_eq!(&asked(&mut new).await.unwrap(), b"ping");
        let waiting = timeout(Duration::from_millis(200), stream.read(&mut [0; 4])).await;
        assert!(waiting.is_err(), "{what:?}: {waiting:?}");
        assert_eq!((proxy.cut(), proxy.swallow(what)), (0, 1), "{what:?}");
    }
}

#[tokio::test]
async fn latency_delays_and_loses_nothing() {
    let (proxy, mut stream) = given().await;
    proxy.set(Weather::Slow(Duration::from_millis(50)));
    let started = std::time::Instant::now();
    assert_eq!(&asked(&mut stream).await.unwrap(), b"ping");
    assert!(started.elapsed() >= Duration::from_millis(100));
}
