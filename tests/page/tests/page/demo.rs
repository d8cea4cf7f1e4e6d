use e2e::Fleet;
use page::Stage;
use reqwest::{RequestBuilder, StatusCode};

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.expect("it answers").status()
}

#[tokio::test]
async fn without_a_demonstration_the_page_only_reads() {
    let stage = Stage::before(Fleet::start().await).await;
    let buttons = "[...document.querySelectorAll('button')].map((it) => it.id).join()";
    assert_eq!(stage.tab.eval(buttons).await, "pause");
    let url = &stage.fleet.order_url;
    for path in ["scenarios/happy", "dead-letters/payment.order-created.dlq/replay"] {
        let asked = stage.fleet.http.post(format!("{url}/page/{path}"));
        assert_eq!(status(asked.header("x-csrf-token", "")).await, 404, "{path}");
    }
    stage.close().await;
}

#[tokio::test]
async fn only_the_page_itself_may_act() {
    let stage = Stage::open().await;
    let url = format!("{}/page/scenarios/happy", stage.fleet.order_url);
    let token = stage.tab.eval("token").await.as_str().unwrap().to_owned();
    let http = https::plain().build().unwrap();
    assert_eq!(status(http.post(&url)).await, 403);
    assert_eq!(status(http.post(&url).header("x-csrf-token", "0".repeat(32))).await, 403);
    let rebound = http.post(&url).header("x-csrf-token", &token).header("host", "evil.example");
    assert_eq!(status(rebound).await, 421, "a name that is not ours is answered nothing");
    assert_eq!(status(http.post(&url).header("x-csrf-token", &token)).await, 200);

    let elsewhere =
        format!("{}/page/dead-letters/payment.order-created/replay", stage.fleet.order_url);
    let not_dead = http.post(&elsewhere).header("x-csrf-token", &token);
    assert_eq!(status(not_dead).await, 404, "a queue that somebody consumes from");
    stage.close().await;
}

#[tokio::test]
async fn nothing_of_it_comes_from_elsewhere_or_goes_into_a_frame() {
    let fleet = Fleet::start().await;
    for path in ["/", "/page/page.css", "/page/page.js", "/page/frames", "/page/orders/none"] {
        let answer = fleet.http.get(format!("{}{path}", fleet.order_url)).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
    }
    fleet.close().await;
}
