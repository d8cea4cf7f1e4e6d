use super::*;

#[tokio::test]
async fn an_order_shows_its_whole_way() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    bench.confirm(id).await;
    let shown = get(&router, &format!("/orders/{id}")).await;
    assert_eq!(shown.status, StatusCode::OK);
    let shown = shown.json();
    assert_eq!(
        (&shown["status"], &shown["tracking_code"]),
        (&json!("CONFIRMED"), &json!("TRK-00000001"))
    );
    let steps: Vec<_> =
        shown["timeline"].as_array().unwrap().iter().map(|step| &step["event"]).collect();
    let way = ["order.created", "payment.approved", "inventory.reserved", "shipping.scheduled"];
    assert_eq!(steps, way);
    assert_eq!(shown["timeline"][3]["detail"]["freight"].to_string(), "13.00");
    assert_eq!(shown["timeline"][3]["service"], "shipping");
}

#[tokio::test]
async fn an_unknown_order_is_a_404() {
    let router = Bench::new().await.router();
    get(&router, "/orders/00000000-0000-0000-0000-000000000000").await.problem(404);
    let nonsense = get(&router, "/orders/nonsense").await;
    nonsense.problem(404);
    let detail =
        "\"nonsense\" is no order id: an order id is a UUID, as Location and order_id have it";
    assert_eq!(nonsense.json()["detail"], detail);
    let long = get(&router, &format!("/orders/{}", "x".repeat(9999))).await;
    assert!(long.body.len() < 500, "{}", long.body.len());
    get(&router, "/orders/%ff").await.problem(404);
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let bench = Bench::new().await;
    let router = bench.router();
    for _ in 0..5 {
        bench.placed().await;
    }
    let (mut path, mut seen) = ("/orders?limit=2".to_owned(), Vec::new());
    loop {
        let page = get(&router, &path).await.json();
        for order in page["orders"].as_array().unwrap() {
            seen.push(order["order_id"].clone());
        }
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/orders?limit=2&cursor={cursor}");
    }
    let whole = get(&router, "/orders").await.json();
    assert_eq!(whole["next_cursor"], Value::Null);
    let whole = whole["orders"].as_array().unwrap().iter().map(|order| order["order_id"].clone());
    assert_eq!(seen, whole.collect::<Vec<_>>());
    assert_eq!(seen.len(), 5);
}

#[tokio::test]
async fn a_list_is_filtered() {
    let bench = Bench::new().await;
    let (router, id) = (bench.router(), bench.placed().await);
    bench.placed().await;
    bench.confirm(id).await;
    let count =
        async |path: &str| get(&router, path).await.json()["orders"].as_array().unwrap().len();
    let customer = crate::testing::draft().customer_id;
    assert_eq!(count("/orders?status=CONFIRMED").await, 1);
    assert_eq!(count("/orders?status=CANCELLED").await, 0);
    assert_eq!(count(&format!("/orders?customer_id={customer}&status=PENDING")).await, 1);
    assert_eq!(count("/orders?customer_id=00000000-0000-0000-0000-000000000009").await, 0);
}

#[tokio::test]
async fn bad_parameters_are_told_all_at_once() {
    let router = Bench::new().await.router();
    for limit in ["0", "201", "-1", "many", ""] {
        let errors = get(&router, &format!("/orders?limit={limit}")).await.problem(400);
        assert!(errors["limit"][0].is_string());
    }
    let path = "/orders?status=confirmed&customer_id=x&cursor=x&limit=1000";
    let errors = get(&router, path).await.problem(400);
    let fields: Vec<_> = errors.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["cursor", "customer_id", "limit", "status"]);
    assert!(errors["status"][0].as_str().unwrap().contains("CONFIRMED"));
    assert_eq!(errors["customer_id"][0], "must be a UUID");
    let errors = get(&router, "/orders?status=CONFIRMED&limit=1&status=X").await.problem(400);
    assert_eq!(errors, json!({ "status": ["given more than once"] }));
}
