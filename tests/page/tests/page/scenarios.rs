use page::Stage;

/// The buttons, the endings that they lead to, and the status in the list then.
const ENDINGS: [(&str, &str, &str); 6] = [
    ("happy", "CONFIRMED", "TRK-"),
    ("declined", "PAYMENT_FAILED", "card declined"),
    ("flaky", "CONFIRMED", "TRK-"),
    ("sold-out", "CANCELLED", "sold out"),
    ("carrier", "CANCELLED", "carrier refuses"),
    ("cancel", "CANCELLED", "cancelled by the customer"),
];

#[tokio::test]
async fn each_button_leads_to_its_ending() {
    let stage = Stage::open().await;
    let tab = &stage.tab;
    for (name, status, words) in ENDINGS {
        let before = tab.eval("detail.dataset.order ?? null").await;
        tab.click(&format!("[data-scenario={name}]")).await;
        tab.shows(&format!("detail.dataset.order && detail.dataset.order !== {before}")).await;
        tab.says("#detail .status", status).await;
        // The list shows the same status for the same order, and marks it.
        tab.says("#orders a[aria-current]", words).await;
        tab.is_content(name).await;
    }
    let counted = "document.querySelector('[data-count=all]').textContent === '6'";
    tab.shows(counted).await;
    tab.says("[data-count=undone]", "3").await;
    // Every event that order consumes has lit its edge; it does not consume the other one.
    let unlit = "[...new Set([...document.querySelectorAll('.edge:not(.lit)')]
        .map((edge) => edge.dataset.event))].join()";
    assert_eq!(tab.eval(unlit).await, "inventory.released");
    stage.close().await;
}

#[tokio::test]
async fn a_click_on_twenty_places_twenty_and_traffic_goes_on_until_it_is_stopped() {
    let stage = Stage::open().await;
    let tab = &stage.tab;
    tab.click("#twenty").await;
    tab.shows("document.querySelector('[data-count=all]').textContent === '20'").await;
    tab.click("#traffic").await;
    tab.shows("Number(document.querySelector('[data-count=all]').textContent) >= 22").await;
    tab.click("#traffic").await;
    tab.shows("document.querySelector('#traffic').getAttribute('aria-pressed') === 'false'").await;
    tab.shows("document.querySelector('[data-count=open]').textContent === '0'").await;
    stage.close().await;
}
