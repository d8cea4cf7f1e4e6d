use e2e::{Fleet, PLENTY, order};
use page::Stage;
use serde_json::json;

const MANY: i64 = 10_000;

/// Confirmed long ago, according to order.
async fn old_orders(fleet: &Fleet) {
    let pool = fleet.pool("order").await;
    let orders = "
        INSERT INTO orders (id, customer_id, payment_method, total_amount, items, created_at, facts,
            status, updated_at)
        SELECT ('00000000-0000-7000-8000-' || lpad(number::TEXT, 12, '0'))::UUID,
            md5('customer')::UUID, 'pix', 1.00, '[]', at,
            (SELECT jsonb_agg(jsonb_build_object('event', event, 'at', at, 'caused_by', NULL,
                'event_id', md5(number || event)::UUID,
                'detail', jsonb_build_object('tracking_code', 'TRK-00000000')))
            FROM UNNEST(ARRAY['order.created', 'payment.approved', 'inventory.reserved',
                'shipping.scheduled']) AS event),
            'CONFIRMED', at
        FROM (SELECT number, now() - INTERVAL '1 day' AS at
            FROM generate_series(1, $1) AS number) AS old";
    sqlx::query(orders).bind(MANY).execute(&pool).await.expect("orders can be written");
}

#[tokio::test]
async fn ten_thousand_orders_are_counted_and_a_window_of_them_is_shown() {
    let fleet = Fleet::start().await;
    old_orders(&fleet).await;
    let stage = Stage::before(fleet).await;
    let tab = &stage.tab;
    tab.says("[data-count=all]", "10,000").await;
    let shown = tab.eval("document.querySelectorAll('#orders a').length").await;
    assert!((40..200).contains(&shown.as_u64().unwrap()), "{shown}");
    let kilobytes = "Math.ceil((await (await fetch('/')).text()).length / 1000)";
    let kilobytes = tab.eval(&format!("(async () => {kilobytes})()")).await;
    assert!(kilobytes.as_u64().unwrap() < 150, "{kilobytes}");
    // A new one is at the top.
    let new = stage.fleet.place(&order("pix", PLENTY, 1)).await;
    tab.shows(&format!("list.querySelector('a').dataset.id === '{new}'")).await;
    stage.close().await;
}

#[tokio::test]
async fn an_order_has_an_address_and_a_key_leads_from_one_to_the_next() {
    let fleet = Fleet::start().await;
    let mut placed = Vec::new();
    for method in ["pix", "card_declined"] {
        placed.push(fleet.place(&order(method, PLENTY, 1)).await);
    }
    for id in &placed {
        fleet.ends(*id).await;
    }
    let stage = Stage::before(fleet).await;
    let tab = &stage.tab;
    tab.open(&format!("{}/?order={}", stage.fleet.order_url, placed[0])).await;
    tab.says("#detail .full-id", &placed[0].to_string()).await;
    tab.says("#detail .status", "CONFIRMED").await;

    tab.eval(&format!("list.querySelector('[data-id=\"{}\"]').focus()", placed[1])).await;
    tab.press("Enter").await;
    tab.says("#detail .full-id", &placed[1].to_string()).await;
    tab.press("ArrowDown").await;
    let focused = tab.eval("document.activeElement.dataset.id").await;
    assert_eq!(focused, placed[0].to_string());
    tab.eval("history.back()").await;
    tab.says("#detail .full-id", &placed[0].to_string()).await;
    stage.close().await;
}

#[tokio::test]
async fn a_hidden_tab_and_a_paused_one_hold_no_stream_and_go_on_where_they_were() {
    let stage = Stage::before(Fleet::start().await).await;
    let tab = &stage.tab;
    let hide = |hidden: bool| {
        format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange'))"
        )
    };
    tab.eval(&hide(true)).await;
    assert_eq!(tab.eval("stream").await, json!(null));
    let placed = stage.fleet.place(&order("pix", PLENTY, 1)).await;
    stage.fleet.ends(placed).await;
    assert_eq!(tab.eval("list.children.length").await, 0);
    tab.eval(&hide(false)).await;
    tab.says("#orders", "TRK-").await;

    tab.click("#pause").await;
    tab.says("#live", "paused").await;
    assert_eq!(tab.eval("stream").await, json!(null));
    tab.click("#pause").await;
    tab.says("#live", "live").await;
    stage.close().await;
}

#[tokio::test]
async fn whoever_cannot_see_it_is_told_what_it_shows() {
    let stage = Stage::open().await;
    let tab = &stage.tab;
    tab.click("[data-scenario=carrier]").await;
    tab.says("#detail .status", "CANCELLED").await;
    tab.says("#detail ol", "shipping publishes shipping.failed (carrier refuses)").await;
    let tree = tab.call("Accessibility.getFullAXTree", json!({})).await;
    for node in tree["nodes"].as_array().expect("a tree") {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let needs_name = ["button", "link", "radio", "image", "region"].contains(&role);
        let is_ignored = node["ignored"] == true;
        let name = node["name"]["value"].as_str().unwrap_or_default();
        assert!(!needs_name || is_ignored || !name.is_empty(), "a {role} without a name: {node}");
    }
    // The first press of Tab reaches a link that skips to the content.
    tab.open(&stage.fleet.order_url).await;
    tab.press("Tab").await;
    let first = tab.eval("document.activeElement.className").await;
    assert_eq!(first, "skip");
    stage.close().await;
}
