use page::{Play, Stage, Tab, axe};
use serde_json::json;
use tokio::task::JoinSet;

const STEPS: [(&str, &str); 5] = [
    ("place", "is CONFIRMED after"),
    ("kill", "0 consumers"),
    ("wait", "is a dead letter"),
    ("start", "still waits"),
    ("replay", "That was the tour"),
];

async fn is_for_all(tab: &Tab, when: &str) {
    assert_eq!(axe::findings(tab).await, Vec::<String>::new(), "{when}");
}

async fn picture(tab: &Tab, name: &str) {
    tab.picture(Stage::album().join(format!("{name}.png"))).await;
}

#[tokio::test]
async fn the_tour_does_each_step_and_says_what_happened() {
    let play = Play::open(0).await;
    let tab = &play.tab;
    tab.shows("document.querySelector('#tour-steps').hidden").await;
    // As by the keyboard.
    tab.eval("document.querySelector('#tour-begin').focus()").await;
    tab.press("Enter").await;
    for (step, words) in STEPS {
        let step = format!("[data-step={step}]");
        let focused = format!("document.activeElement.closest('{step}')");
        tab.shows(&focused).await;
        tab.press("Enter").await;
        tab.says(&format!("{step} [role=status]"), words).await;
        if step.contains("wait") {
            tab.says("[data-number='payment.waiting']", "1").await;
            tab.says("#dead", "payment.order-created.dlq").await;
            tab.says("[data-service=payment]", "start payment").await;
            is_for_all(tab, "in the tour").await;
            picture(tab, "tour").await;
        }
    }
    tab.says("#letters .fate", "replayed: in payment.order-created").await;
    tab.says("#dead", "None.").await;
    tab.shows("document.querySelectorAll('#orders [data-state=confirmed]').length === 3").await;
    is_for_all(tab, "after the tour").await;
    play.close().await;
}

#[tokio::test]
async fn something_moves_when_the_page_opens_and_anyone_can_use_it() {
    let play = Play::open(4).await;
    let tab = &play.tab;
    tab.shows("Number(document.querySelector('[data-count=all]').textContent) >= 8").await;
    tab.shows("document.querySelector('.edge.lit')").await;
    tab.shows("document.querySelector('[data-rate=\"order.created\"]').textContent").await;
    assert_eq!(tab.text("#traffic").await, "traffic");
    for (name, width, scheme) in
        [("light", 1280, "light"), ("dark", 1280, "dark"), ("phone", 390, "dark")]
    {
        tab.looks(width, 900, scheme).await;
        is_for_all(tab, name).await;
        picture(tab, &format!("traffic-{name}")).await;
    }
    tab.looks(1280, 900, "light").await;
    tab.click("#traffic").await;
    tab.shows("document.querySelector('#traffic').ariaPressed === 'false'").await;
    tab.shows("document.querySelector('[data-count=open]').textContent === '0'").await;
    play.close().await;
}

#[tokio::test]
async fn many_orders_a_second_are_a_summary_and_then_a_list_again() {
    let play = Play::open(0).await;
    let tab = &play.tab;
    let customers = customers(&play.url);
    tab.says("#summary", "orders placed a second").await;
    tab.says("#summary .is-confirmed td", "/s").await;
    tab.says("[data-rate='payment.approved']", "/s").await;
    picture(tab, "many").await;
    is_for_all(tab, "at many orders a second").await;
    // The order that is shown leaves the list when it ends, and is followed to its end.
    tab.eval(
        "fetch('/orders', {
            method: 'POST',
            headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({
                customer_id: '123e4567-e89b-12d3-a456-426614174000',
                payment_method: 'card_slow',
                items: [{
                    product_id: '00000000-0000-0000-0000-000000000001',
                    quantity: 1,
                    unit_price: 1.5,
                }],
            }),
        }).then((answer) => answer.json()).then((order) => select(order.order_id))",
    )
    .await;
    tab.says("#detail .facts", "card_slow").await;
    tab.says("#detail .status", "CONFIRMED").await;
    drop(customers);
    tab.shows("document.querySelector('#summary').childElementCount === 0").await;
    tab.shows("document.querySelectorAll('#orders a').length >= 40").await;
    // The list scrolls by itself: the page ends where its last section does.
    let below = "document.documentElement.scrollHeight - document.body.offsetHeight";
    assert_eq!(tab.eval(below).await, 0);
    play.close().await;
}

/// Sixteen that place one order after the other, until they are dropped.
fn customers(url: &str) -> JoinSet<()> {
    let http = https::plain().build().expect("a client");
    let order = json!({
        "customer_id": "123e4567-e89b-12d3-a456-426614174000",
        "payment_method": "pix",
        "items": [{
            "product_id": "00000000-0000-0000-0000-000000000001",
            "quantity": 1,
            "unit_price": 1.5,
        }],
    });
    let mut customers = JoinSet::new();
    for _ in 0..16 {
        let (http, url, order) = (http.clone(), format!("{url}/orders"), order.clone());
        customers.spawn(async move {
            loop {
                let answer = http.post(&url).json(&order).send().await.expect("it answers");
                assert_eq!(answer.status(), 201);
            }
        });
    }
    customers
}
