use super::*;
use events::PaymentMethod;
use std::collections::BTreeSet;

fn paths() -> impl Iterator<Item = (&'static str, &'static Value)> {
    let paths = DOCUMENT["paths"].as_object().unwrap();
    paths.iter().map(|(path, methods)| (path.as_str(), methods))
}

#[test]
fn every_route_is_documented_and_nothing_else_is() {
    let routes = include_str!("../../http.rs").split(".route(\"").skip(1);
    let routes: BTreeSet<_> = routes.filter_map(|rest| rest.split('"').next()).collect();
    let documented: BTreeSet<_> = paths().map(|(path, _)| path).collect();
    assert_eq!(documented, routes, "the left are in tests/openapi, the right in http.rs");
}

#[test]
fn every_payment_method_is_documented_and_nothing_else_is() {
    let documented = &DOCUMENT["components"]["schemas"]["PaymentMethod"]["enum"];
    assert_eq!(*documented, json!(PaymentMethod::ALL));
}

#[tokio::test]
async fn every_method_is_documented_and_nothing_else_is() {
    let router = Bench::new().await.router();
    for (path, methods) in paths() {
        let asked = Request::builder().method(Method::TRACE).uri(path).body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(asked).await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allowed = answer.headers()[header::ALLOW].to_str().unwrap().to_ascii_lowercase();
        let mut allowed: BTreeSet<_> = allowed.split(',').map(str::trim).collect();
        // Every route with GET answers HEAD as well.
        allowed.remove("head");
        let documented: BTreeSet<_> =
            methods.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(documented, allowed, "{path}");
    }
}

#[tokio::test]
async fn the_document_and_the_page_are_served() {
    let mut bench = Bench::new().await;
    bench.settings.http.allowed_hosts = "shop.example".parse().unwrap();
    let router = bench.router();
    let get = async |path: &str| {
        let asked = Request::get(path).header("host", "shop.example:8080").body(Body::empty());
        let answer = router.clone().oneshot(asked.unwrap()).await.unwrap();
        let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (kind, String::from_utf8(body.into()).unwrap())
    };
    let (kind, text) = get("/openapi.json").await;
    assert_eq!(kind, "application/json");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), *DOCUMENT);
    assert!(text.contains("\"maximum\": 99999999999999.99"), "amounts are exact");
    let (kind, page) = get("/docs").await;
    assert_eq!(kind, "text/html; charset=utf-8");
    assert!(page.contains("BASE=http://shop.example:8080"));
    let operations = paths().flat_map(|(_, methods)| methods.as_object().unwrap().values());
    for id in operations.map(|operation| operation["operationId"].as_str().unwrap()) {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    let links = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next());
    for link in links {
        assert!(page.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
    }
    // All of it comes from here.
    let sources = page.split(" src=\"").skip(1).chain(page.split("<link ").skip(1));
    assert!(sources.map(|it| it.split('>').next().unwrap()).all(|it| it.contains("/page/")));
}
