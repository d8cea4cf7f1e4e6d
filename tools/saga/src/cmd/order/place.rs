//! `saga order place`: places one order, by its items or by its scenario.

use anyhow::{Result, ensure};
use clap::Args;
use demo::{CUSTOMER, PRICE, QUILL};
use events::{Item, Money, ProductId};
use kit::api::{Api, Draft, Order};
use kit::output;
use kit::scenario::Scenario;
use kit::target::product;
use uuid::Uuid;

use super::{show, watch_from};

/// Place an order
#[derive(Args)]
pub struct Place {
    /// A product's UUID, or its last digits: 1, 2, 3 and 4 are the demo's [default: 1]
    #[arg(long, value_parser = product, conflicts_with_all = ["item", "scenario"])]
    product: Option<ProductId>,
    /// How many of it [default: 1]
    #[arg(long, conflicts_with_all = ["item", "scenario"])]
    quantity: Option<u32>,
    /// The price of one [default: 49.90]
    #[arg(long, conflicts_with_all = ["item", "scenario"])]
    price: Option<Money>,
    /// PRODUCT:QUANTITY:PRICE, for several in one order
    #[arg(long, value_parser = item, conflicts_with = "scenario")]
    item: Vec<Item>,
    /// credit_card, debit_card, pix, bank_transfer; card_declined, card_unavailable, card_flaky,
    /// card_slow to see the saga fail and wait
    #[arg(long, default_value = "credit_card", conflicts_with = "scenario")]
    method: String,
    /// The customer's UUID [default: the demo's]
    #[arg(long)]
    customer: Option<Uuid>,
    /// An order that ends in a certain way
    #[arg(long)]
    scenario: Option<Scenario>,
    /// Idempotency-Key: a repeated key creates no second order
    #[arg(long)]
    idempotency_key: Option<String>,
    /// Then show its steps as they come, to its end
    #[arg(long, short)]
    watch: bool,
}

impl Place {
    pub async fn run(self, api: &Api, json: bool) -> Result<()> {
        let answer = api.place(&self.draft(), self.idempotency_key.as_deref()).await?;
        let order: Order = answer.read()?;
        if json {
            output::line(&answer.text);
        } else {
            show(&order);
        }
        let cancel_after = self.scenario.and_then(Scenario::cancel_after);
        let cancels = async {
            if let Some(wait) = cancel_after {
                tokio::time::sleep(wait).await;
                api.cancel(order.order_id).await?;
            }
            Ok(())
        };
        if self.watch {
            // As text, the first step is shown already.
            let shown = order.timeline.first().filter(|_| !json);
            tokio::try_join!(cancels, watch_from(api, order.order_id, shown, json))?;
        } else {
            cancels.await?;
        }
        Ok(())
    }

    fn draft(&self) -> Draft {
        if let Some(scenario) = self.scenario {
            let draft = scenario.draft();
            return Draft { customer_id: self.customer.unwrap_or(draft.customer_id), ..draft };
        }
        let items = if self.item.is_empty() {
            let product_id = self.product.unwrap_or(QUILL);
            let (quantity, unit_price) = (self.quantity.unwrap_or(1), self.price.unwrap_or(PRICE));
            vec![Item { product_id, quantity, unit_price }]
        } else {
            self.item.clone()
        };
        let customer_id = self.customer.unwrap_or(CUSTOMER);
        Draft { customer_id, payment_method: self.method.clone(), items }
    }
}

fn item(text: &str) -> Result<Item> {
    let parts: Vec<_> = text.split(':').collect();
    ensure!(parts.len() == 3, "{text:?} is not PRODUCT:QUANTITY:PRICE, such as 1:2:49.90");
    let product_id = product(parts[0]).map_err(anyhow::Error::msg)?;
    let unit_price =
        parts[2].parse().map_err(|why| anyhow::anyhow!("the price {} {why}", parts[2]))?;
    Ok(Item { product_id, quantity: parts[1].parse()?, unit_price })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_written_in_one_word() {
        let expected = Item { product_id: QUILL, quantity: 2, unit_price: PRICE };
        assert_eq!(item("1:2:49.90").unwrap(), expected);
        for wrong in ["1:2", "1:two:3", "1:2:1.999", "x:1:1"] {
            assert!(item(wrong).is_err(), "{wrong}");
        }
    }
}
