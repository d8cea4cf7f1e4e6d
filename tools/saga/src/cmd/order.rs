//! `saga order`: places, shows, lists, follows and cancels orders.

mod place;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use events::OrderId;
use kit::api::{Api, Filter, Happened, Order, Page, Step};
use kit::output;
use kit::target::Target;
use uuid::Uuid;

/// Place, show, list, follow and cancel orders
#[derive(Args)]
#[command(after_help = "Examples:
  saga order place --scenario carrier --watch
  saga order place --product 2 --quantity 3 --method pix
  saga order list --status CANCELLED
  saga order cancel 01a1fcc6-99ef-7b1d-a6ad-3fde23bb25c1")]
pub struct OrderCommand {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
}

#[derive(Subcommand)]
enum Command {
    Place(place::Place),
    /// Show an order with its timeline
    Get {
        /// Its whole id
        #[arg(value_parser = order_id)]
        order: OrderId,
    },
    List(List),
    /// Show an order's steps as they come, to its end
    Watch {
        /// Its whole id
        #[arg(value_parser = order_id)]
        order: OrderId,
    },
    /// Ask for an order to be cancelled
    Cancel {
        /// Its whole id
        #[arg(value_parser = order_id)]
        order: OrderId,
        /// Why; recorded with an operator's cancel
        #[arg(long)]
        reason: Option<String>,
    },
}

/// List orders, newest first
#[derive(Args)]
struct List {
    /// Only those in this status, such as CONFIRMED
    #[arg(long)]
    status: Option<String>,
    /// Only this customer's
    #[arg(long)]
    customer: Option<Uuid>,
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Go on where a list before has ended
    #[arg(long)]
    cursor: Option<String>,
}

fn order_id(text: &str) -> Result<OrderId, &'static str> {
    text.parse().map_err(|_| "it is no whole id; `saga why` finds an order by a part of its id")
}

impl OrderCommand {
    pub async fn run(self) -> Result<ExitCode> {
        let api = self.target.api()?;
        let json = self.target.json;
        match self.command {
            Command::Place(place) => place.run(&api, json).await?,
            Command::Get { order } => {
                let answer = api.order(order).await?;
                if json { output::line(answer.text) } else { show(&answer.read()?) }
            }
            Command::List(list) => list.run(&api, json).await?,
            Command::Watch { order } => watch(&api, order, json).await?,
            Command::Cancel { order, reason } => {
                let answer = api.cancel_for(order, reason.as_deref()).await?;
                let told = "the cancel is accepted: the order will not be CONFIRMED";
                output::line(if json { &answer.text } else { told });
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl List {
    async fn run(self, api: &Api, json: bool) -> Result<()> {
        let Self { status, customer: customer_id, limit, cursor } = self;
        let filter = Filter { status, customer_id, limit: Some(limit), cursor };
        let answer = api.list(&filter).await?;
        if json {
            output::line(answer.text);
            return Ok(());
        }
        let page: Page<Order> = answer.read()?;
        let mut table = output::Table::new(&["order", "status", "total", "method", "placed"]);
        for order in &page.orders {
            table.row(vec![
                (None, order.order_id.to_string()),
                (output::status(&order.status), order.status.clone()),
                (None, order.total_amount.to_string()),
                (None, order.payment_method.clone()),
                (None, order.created_at.format("%F %T").to_string()),
            ]);
        }
        table.print();
        if let Some(cursor) = page.next_cursor {
            output::line(format_args!("more: --cursor {cursor}"));
        }
        Ok(())
    }
}

fn show(order: &Order) {
    output::line(format_args!(
        "order     {}  {}",
        order.order_id,
        output::in_status(&order.status)
    ));
    output::line(format_args!("customer  {}", order.customer_id));
    output::line(format_args!("payment   {} of {}", order.payment_method, order.total_amount));
    for item in &order.items {
        let product = output::product(&item.product_id.to_string());
        output::line(format_args!(
            "item      {} × {product} at {}",
            item.quantity, item.unit_price
        ));
    }
    if let Some(code) = &order.tracking_code {
        output::line(format_args!("tracking  {code}"));
    }
    for step in &order.timeline {
        output::line(output::step(step, order.created_at));
    }
}

/// Prints each step as it comes.
async fn watch(api: &Api, order: OrderId, json: bool) -> Result<()> {
    watch_from(api, order, None, json).await
}

/// Those after this one, by which the times are told.
async fn watch_from(api: &Api, order: OrderId, shown: Option<&Step>, json: bool) -> Result<()> {
    let mut steps = api.follow(order).await?;
    let mut placed = shown.map(|step| step.at);
    while let Some(happened) = steps.next().await? {
        match happened {
            Happened::Step(step) if shown.is_some_and(|shown| shown.event_id == step.event_id) => {}
            Happened::Step(step) if json => output::line(serde_json::to_string(&step)?),
            Happened::Step(step) => {
                let placed = *placed.get_or_insert(step.at);
                output::line(output::step(&step, placed));
            }
            Happened::End { status } if json => {
                output::line(serde_json::json!({ "order_id": order, "status": status }));
            }
            Happened::End { status } => {
                output::line(output::in_status(&status));
            }
        }
    }
    Ok(())
}
