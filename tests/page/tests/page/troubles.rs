use e2e::{PLENTY, mend, order, refuse};
use page::Stage;

const TABLE: &str = "reservation_items";
const DLQ: &str = "inventory.payment-approved.dlq";

#[tokio::test]
async fn an_order_names_the_dead_service_that_it_waits_for() {
    let mut stage = Stage::open().await;
    stage.fleet.take("payment").kill();
    let tab = &stage.tab;
    tab.says("[data-number='payment.consumers']", "0 consumers").await;
    tab.click("[data-scenario=happy]").await;
    tab.says("#orders a[aria-current]", "waits: payment 0 consumers").await;
    tab.says("#detail .summary", "waits: payment").await;
    tab.says("#detail .step.awaited", "waits").await;
    tab.shows("document.querySelector('#orders .since').textContent.endsWith(' s')").await;
    tab.says("[data-number='payment.waiting']", "1").await;
    // As the tour does it.
    let set_aside = "(async () => {
        const id = await place('happy');
        await ask(`/page/orders/${id}/set-aside`);
        return id;
    })()";
    let dead = tab.eval(set_aside).await;
    tab.says("#dead", "payment.order-created.dlq").await;
    tab.says("[data-number='payment.waiting']", "1").await;

    Stage::spawn(&mut stage.fleet, "payment");
    let tab = &stage.tab;
    tab.says("#detail .status", "CONFIRMED").await;
    tab.says("[data-number='payment.consumers']", "1 consumer").await;
    tab.click("[data-deed=replay]").await;
    tab.eval(&format!("select({dead})")).await;
    tab.says("#detail .status", "CONFIRMED").await;
    stage.fleet.verify().await;
    stage.close().await;
}

#[tokio::test]
async fn a_button_works_though_news_come_while_it_is_pressed() {
    let stage = Stage::open().await;
    let (tab, fleet) = (&stage.tab, &stage.fleet);
    let stock = fleet.pool("inventory").await;
    refuse(&stock, TABLE, "quantity <> 2").await;
    fleet.place(&order("pix", PLENTY, 2)).await;
    tab.says("#dead", DLQ).await;
    let point = tab.hold("[data-deed=show]").await;
    fleet.place(&order("pix", PLENTY, 2)).await;
    tab.says("[data-number='inventory.dead']", "2").await;
    tab.release(&point).await;
    tab.says("#letters pre", "\"quantity\": 2").await;
    tab.says("#dead", "2").await;
    mend(&stock, TABLE).await;
    tab.click("[data-deed=replay]").await;
    tab.says("#dead", "None.").await;
    stage.close().await;
}

#[tokio::test]
async fn a_dead_letter_is_shown_judged_and_replayed() {
    let stage = Stage::open().await;
    let (tab, fleet) = (&stage.tab, &stage.fleet);
    let stock = fleet.pool("inventory").await;
    refuse(&stock, TABLE, "quantity <> 2").await;
    tab.click("[data-scenario=happy]").await;
    tab.says("#dead", DLQ).await;
    tab.says("#dead .reason", "fault").await;
    tab.says("[data-number='inventory.dead']", "1").await;
    tab.says("#orders a[aria-current]", "waits: inventory").await;

    tab.click("[data-deed=show]").await;
    tab.says("#letters pre", "\"quantity\": 2").await;
    tab.says("#letters pre", "traceparent").await;
    tab.click("[data-deed=dry-run]").await;
    tab.says("#letters .fate", "would go to inventory.payment-approved").await;
    // Reading changes nothing; the page itself may hold the message just now.
    fleet.holds(DLQ, 1).await;

    mend(&stock, TABLE).await;
    tab.click("[data-deed=replay]").await;
    tab.says("#letters .fate", "replayed: in inventory.payment-approved").await;
    tab.says("#detail .status", "CONFIRMED").await;
    tab.says("#dead", "None.").await;
    fleet.verify().await;
    stage.close().await;
}

#[tokio::test]
async fn the_page_goes_on_when_the_order_service_is_back() {
    let mut stage = Stage::open().await;
    stage.tab.click("[data-scenario=happy]").await;
    stage.tab.says("#detail .status", "CONFIRMED").await;
    stage.fleet.take("order").kill();
    stage.tab.shows("document.querySelector('#live').dataset.live === 'off'").await;
    stage.tab.click("[data-scenario=happy]").await;
    stage.tab.says("#said", "No order was placed").await;

    Stage::spawn(&mut stage.fleet, "order");
    let tab = &stage.tab;
    tab.shows("document.querySelector('#live').dataset.live === 'on'").await;
    // With what the new process takes for its own page.
    tab.click("[data-scenario=sold-out]").await;
    tab.says("#detail .summary", "sold out").await;
    tab.shows("document.querySelectorAll('#orders a').length === 2").await;
    stage.close().await;
}
