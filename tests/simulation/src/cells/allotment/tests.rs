use super::*;
use uuid::Uuid;

const PRINT: ProductId = Uuid::from_u128(2);
const HERE: Cell = Cell { id: 0, cells: 3 };
const OLD: OrderId = Uuid::from_u128(10);
const NEW: OrderId = Uuid::from_u128(20);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn share(total: u64, reserved: u64) -> Share {
    Share { product: Product { total, reserved }, ..Share::default() }
}

fn request(missing: u64) -> AllotmentAsked {
    let oldest = (missing > 0).then_some(OLD);
    AllotmentAsked { product_id: PRINT, from: 1, round: 1, missing, oldest, free: 0, rate: 0 }
}

fn answer(from: CellId, round: u64, quantity: u64, remains: Remains) -> AllotmentMoved {
    AllotmentMoved { product_id: PRINT, from, to: HERE.id, round, quantity, remains }
}

fn short(missing: u64, oldest: OrderId) -> Waiting {
    Waiting { missing, oldest: Some(oldest) }
}

/// What is given, and what remains.
fn given(share: Share, asked: &AllotmentAsked, waiting: Waiting) -> Option<(u64, Remains)> {
    let before = share.clone();
    let (after, moved) = share.asked(asked, waiting, HERE);
    let quantity = moved.as_ref().map_or(0, |moved| moved.quantity);
    assert_eq!(after.product.total + quantity, before.product.total);
    assert_eq!(after.account.given, quantity);
    moved.map(|moved| (moved.quantity, moved.remains))
}

#[test]
fn what_orders_lack_is_given_from_what_is_free() {
    let nobody = Waiting::default();
    assert_eq!(given(share(10, 4), &request(5), nobody), Some((5, Remains::Some)));
    assert_eq!(given(share(10, 4), &request(6), nobody), Some((6, Remains::Nothing)));
    assert_eq!(given(share(10, 4), &request(9), nobody), Some((6, Remains::Nothing)));
    assert_eq!(given(share(4, 4), &request(1), nobody), Some((0, Remains::Nothing)));
}

#[test]
fn the_older_order_has_priority() {
    assert_eq!(given(share(3, 0), &request(1), short(1, NEW)), Some((1, Remains::Some)));
    let asked = AllotmentAsked { oldest: Some(NEW), ..request(1) };
    assert_eq!(given(share(3, 0), &asked, short(1, OLD)), Some((0, Remains::Promised)));
}

#[test]
fn a_cell_that_runs_low_is_brought_to_the_cover_of_the_others() {
    // As fast as here, with 10 fewer: 5 would be level, and two cells give.
    let asked = AllotmentAsked { free: 10, ..request(0) };
    assert_eq!(given(share(20, 0), &asked, Waiting::default()), Some((2, Remains::Some)));
    assert_eq!(given(share(10, 0), &asked, Waiting::default()), None);
    assert_eq!(given(share(20, 0), &asked, short(1, NEW)), None);
    // It sells, and here nothing is sold.
    let asked = AllotmentAsked { rate: 99, ..asked };
    assert_eq!(given(share(20, 0), &asked, Waiting::default()), Some((9, Remains::Some)));
}

#[test]
fn the_others_are_asked_when_orders_wait_or_stock_runs_low() {
    let (idle, asked) = share(1, 0).tick(PRINT, Waiting::default(), at(0), HERE);
    assert_eq!((idle, asked), (share(1, 0), None));
    let (_, asked) = share(0, 0).tick(PRINT, short(2, OLD), at(0), HERE);
    let asked = asked.expect("an order waits");
    assert_eq!((asked.missing, asked.oldest, asked.round), (2, Some(OLD), 1));
    let mut selling = share(9, 8);
    selling.account.sold = 8;
    let (selling, asked) = selling.tick(PRINT, Waiting::default(), at(0), HERE);
    assert_eq!(asked.map(|asked| (asked.missing, asked.free, asked.rate)), Some((0, 1, PIECE)));
    let (selling, asked) = selling.tick(PRINT, Waiting::default(), at(1), HERE);
    assert_eq!(asked, None);
    assert!(selling.tick(PRINT, Waiting::default(), at(6), HERE).1.is_some());
    let alone = Cell { id: 0, cells: 1 };
    assert_eq!(share(0, 0).tick(PRINT, short(2, OLD), at(0), alone).1, None);
}

#[test]
fn a_rate_decays_to_nothing() {
    let mut share = share(0, 0);
    share.account.sold = 100;
    for second in 0..100 {
        share = share.tick(PRINT, Waiting::default(), at(second), HERE).0;
    }
    assert_eq!(share.account.rate, 0);
}

#[test]
fn all_cells_have_nothing_only_if_each_says_so_in_one_round() {
    let (asking, _) = share(0, 0).tick(PRINT, short(1, OLD), at(0), HERE);
    let is_proof = |answers: &[AllotmentMoved], second| {
        let told = answers.iter().fold(asking.clone(), Share::moved);
        told.account.round.proves_sold_out(at(second), HERE)
    };
    let nothing = [1, 2].map(|from| answer(from, 1, 0, Remains::Nothing));
    assert!(is_proof(&nothing, 25));
    assert!(!is_proof(&nothing, 26));
    assert!(!is_proof(&nothing[..1], 1));
    for remains in [Remains::Some, Remains::Promised] {
        assert!(!is_proof(&[nothing[0].clone(), answer(2, 1, 0, remains)], 1));
    }
    assert!(!is_proof(&[nothing[0].clone(), answer(2, 0, 0, Remains::Nothing)], 1));
}

#[test]
fn pieces_of_an_old_round_count() {
    let (asking, _) = share(0, 0).tick(PRINT, short(1, OLD), at(0), HERE);
    let told = asking.moved(&answer(1, 0, 3, Remains::Nothing));
    assert_eq!((told.free(), told.account.received), (3, 3));
}

#[test]
fn another_round_begins_once_the_last_is_answered_or_too_old() {
    let (asking, _) = share(0, 0).tick(PRINT, short(1, OLD), at(0), HERE);
    let round = |share: Share, second| {
        share.tick(PRINT, short(1, OLD), at(second), HERE).1.map(|asked| asked.round)
    };
    assert_eq!(round(asking.clone(), 25), None);
    assert_eq!(round(asking.clone(), 26), Some(2));
    let promised = [1, 2].map(|from| answer(from, 1, 0, Remains::Promised));
    assert_eq!(round(promised.iter().fold(asking, Share::moved), 1), Some(2));
}
