//! Runs the saga as one Restate workflow per order: the Restate server keeps a journal of its steps
//! and repeats those without a result. It places orders too, at its own address.

use peers::{Databases, Order, charge, finish, place, refund, reserve, setting, ship};
use restate_sdk::prelude::*;
use tokio::net::TcpSocket;

struct Saga(Databases);

#[restate_sdk::workflow]
impl Saga {
    #[handler]
    async fn run(
        &self,
        ctx: WorkflowContext<'_>,
        Json(order): Json<Order>,
    ) -> Result<(), HandlerError> {
        let (db, order) = (&self.0, &order);
        ctx.run(|| async { Ok(place(&db.order, order).await?) }).name("place").await?;
        let status =
            if !ctx.run(|| async { Ok(charge(&db.payment, order).await?) }).name("charge").await? {
                "PAYMENT_FAILED"
            } else if ctx
                .run(|| async { Ok(reserve(&db.inventory, order).await?) })
                .name("reserve")
                .await?
            {
                ctx.run(|| async { Ok(ship(&db.shipping, order).await?) }).name("ship").await?;
                "CONFIRMED"
            } else {
                ctx.run(|| async { Ok(refund(&db.payment, order).await?) }).name("refund").await?;
                "CANCELLED"
            };
        ctx.run(|| async { Ok(finish(&db.order, order, status).await?) }).name("finish").await?;
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let saga = Saga(Databases::open().await.expect("the databases can be opened"));
    // The SDK leaves out TCP_NODELAY, which costs 40 ms now and then; accepted sockets inherit it.
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_nodelay(true).expect("it can be set");
    socket.bind(setting("LISTEN").parse().expect("an address")).expect("its port is free");
    let listener = socket.listen(1024).expect("it can listen");
    HttpServer::new(Endpoint::builder().bind(saga).build()).serve(listener).await;
}
