//! Payments, and the charge desk's operations on them.

use super::{SEEDS, STEPS, Twins, Tx, said::*, told};
use database::{Failure, Transaction};
use events::OrderId;
use messaging::{LoadedBatch, Store};
use payment::{ChargeDispatch, ChargeRepository, Payment, Payments, Policy, Verdict, settle};
use reaction::Decision;
use simulation::books::{self, PaymentStore, usual};
use std::time::Duration;
use uuid::Uuid;

#[tokio::test]
async fn payment_knows_the_same() {
    for seed in 0..SEEDS {
        let gateway_url = Some(payment::Settings::SIMULATED.into());
        let settings = payment::Settings { gateway_url, ..usual() };
        let service = payment::service(&settings).expect("the defaults suit");
        let dispatch = ChargeDispatch::unmanned();
        let (in_memory, in_postgres) =
            (PaymentStore::new(dispatch.clone()), Payments::new(dispatch));
        let mut twins = Twins::new(seed, in_memory, in_postgres, &service).await;
        for _ in 0..STEPS {
            let items = twins.items();
            let (order, verdict) = (twins.order(), twins.verdict());
            match twins.below(12) {
                0 | 1 => twins.hear(|order_id| created(order_id, &items)).await,
                2 => twins.hear(cancel).await,
                3 => twins.hear(short).await,
                4 => twins.hear(released).await,
                5 => twins.do_at_desk(&Desk::PutBack(Duration::ZERO)).await,
                6 => twins.do_at_desk(&Desk::PutBack(HOUR)).await,
                7 => twins.do_at_desk(&Desk::Wait).await,
                8 | 9 => twins.do_at_desk(&Desk::TakeUp).await,
                _ => twins.do_at_desk(&Desk::Settle(order, verdict)).await,
            }
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// With delays of zero, or longer than this test.
const POLICY: Policy = Policy { attempts_max: 3, retry_delay: HOUR };

#[derive(Debug)]
enum Desk {
    TakeUp,
    Settle(OrderId, Verdict),
    PutBack(Duration),
    Wait,
}

impl<M, P> Twins<books::Payments, M, P>
where
    M: Store<Tx = Tx<books::Payments>, State = Payment>,
    P: Store<Tx = Transaction, State = Payment>,
{
    async fn do_at_desk(&mut self, step: &Desk) {
        let memory = at_desk(&self.memory, step).await;
        assert_eq!(told(memory), told(at_desk(&self.postgres, step).await), "{step:?}");
        self.know_the_same().await;
    }

    fn verdict(&mut self) -> Verdict {
        let reason = String::from("a reason");
        match self.below(8) {
            0 | 1 => Verdict::Done { reference: "ref".into() },
            2 => Verdict::Declined { reason },
            3 => Verdict::NotCharged,
            4 => Verdict::Pending { reason },
            5 => Verdict::Unsent { reason },
            6 => Verdict::Unavailable { reason, retry_after: Some(HOUR) },
            _ => Verdict::Unknown { reason },
        }
    }
}

async fn at_desk<L: ChargeRepository>(book: &L, step: &Desk) -> Result<String, Failure> {
    Ok(match step {
        Desk::TakeUp => {
            let mut taken = book.take_due(Uuid::from_u128(7), 100).await?;
            taken.sort_by_key(|charge| charge.order_id);
            format!("{taken:?}")
        }
        Desk::PutBack(age) => book.put_back(*age, 100).await?.to_string(),
        // No two clocks are the same.
        Desk::Wait => format!("{:?}", book.next_due_in().await?.map(|wait| wait.is_zero())),
        Desk::Settle(order, verdict) => {
            let mut tx = book.begin().await?;
            let mut batch = book.load(&mut tx, &[*order]).await?;
            let payment = batch.get(*order, &[]);
            let Some(asked) = payment.charge.clone() else { return Ok("not heard of".into()) };
            let decision = settle(payment, &asked, verdict.clone(), POLICY);
            let said = format!("{decision:?}");
            if let Decision::Change { state, .. } = decision {
                batch.put(*order, state);
            }
            book.save(&mut tx, &batch).await?;
            book.commit(tx).await?;
            said
        }
    })
}
