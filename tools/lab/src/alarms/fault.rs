//! Defines the faults: what each does, the alerts that must ring for it, and those that may.

/// The faults, in the order of the alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    RefusedRows,
    FullDeadLetters,
    Unrouted,
    TooLarge,
    LostEvents,
    RefusedRefunds,
    ProviderDown,
    OrdersDatabaseGone,
    Strangers,
    OldCertificate,
    WrongRow,
    Purged,
    VerifierStopped,
    ServiceKilled,
    LockedTable,
    ClockAhead,
    SlowDatabase,
    RefusedReleases,
    MemoryAlarm,
    ExporterStopped,
    BrokerKilled,
    CollectorStopped,
}

#[derive(Debug)]
pub struct Fault {
    pub kind: Kind,
    pub name: &'static str,
    pub what: &'static str,
    pub repair: &'static str,
    /// The alerts that must ring, and for whom.
    pub rings: &'static [(&'static str, &'static str)],
    /// The alerts that may ring as well, and why that is right.
    pub also: &'static [(&'static str, &'static str)],
}

pub static FAULTS: [Fault; 22] = [
    Fault {
        kind: Kind::RefusedRows,
        name: "DeadLetters",
        what: "shipping's database refuses the rows of some orders",
        repair: "it takes them; `saga dlq replay`",
        rings: &[("DeadLetters", "shipping.inventory-reserved.dlq")],
        also: &[("RetriesGoOn", "each is tried again for 36 s")],
    },
    Fault {
        kind: Kind::FullDeadLetters,
        name: "QueueRefuses",
        what: "shipping's database refuses the rows of some orders, and RabbitMQ takes two of \
               their dead letters",
        repair: "both take them; `saga dlq replay`",
        rings: &[("QueueRefuses", "shipping.inventory-reserved")],
        also: &[
            ("DeadLetters", "those that it takes"),
            ("RetriesGoOn", "the others wait in the last retry queue"),
        ],
    },
    Fault {
        kind: Kind::Unrouted,
        name: "OutboxOld",
        what: "no queue is bound for `order.created`",
        repair: "the binding is made again",
        rings: &[("OutboxOld", "order")],
        also: &[],
    },
    Fault {
        kind: Kind::TooLarge,
        name: "OutboxParked",
        what: "RabbitMQ takes no message of more than 4 KiB, and there is one",
        repair: "RabbitMQ takes it; `UPDATE outbox`",
        rings: &[("OutboxParked", "order")],
        also: &[],
    },
    Fault {
        kind: Kind::LostEvents,
        name: "OrdersStuck",
        what: "`shipping.failed` does not reach inventory's queue",
        repair: "the binding is made again; `saga replay`",
        rings: &[("OrdersStuck", "")],
        also: &[],
    },
    Fault {
        kind: Kind::RefusedRefunds,
        name: "RefundsLate",
        what: "the provider refuses all refunds",
        repair: "it makes them",
        rings: &[("RefundsLate", "")],
        also: &[("OrdersStuck", "a compensation ends with its refund")],
    },
    Fault {
        kind: Kind::ProviderDown,
        name: "ProviderFailing",
        what: "the provider answers 503 to everything",
        repair: "it answers",
        rings: &[("ProviderFailing", "")],
        also: &[],
    },
    Fault {
        kind: Kind::OrdersDatabaseGone,
        name: "OrdersRefused",
        what: "order's Postgres is killed",
        repair: "it is started",
        rings: &[("NotConsuming", "order"), ("OrdersRefused", "")],
        also: &[("OutboxOld", "what was published just before is deleted when it is back")],
    },
    Fault {
        kind: Kind::Strangers,
        name: "ClientsRefused",
        what: "nine of ten requests have no key",
        repair: "they are not sent",
        rings: &[("ClientsRefused", "")],
        also: &[],
    },
    Fault {
        kind: Kind::OldCertificate,
        name: "CertificateExpires",
        what: "order's certificate is valid for six days more",
        repair: "it has another",
        rings: &[("CertificateExpires", "")],
        also: &[],
    },
    Fault {
        kind: Kind::WrongRow,
        name: "InvariantBroken",
        what: "a product's reserved quantity is changed by hand",
        repair: "it is changed back",
        rings: &[("InvariantBroken", "")],
        also: &[],
    },
    Fault {
        kind: Kind::Purged,
        name: "ChargesStranded",
        what: "a dead letter of a charged order is purged",
        repair: "`saga replay` brings it back",
        rings: &[("ChargesStranded", "")],
        also: &[
            ("DeadLetters", "it is one before"),
            ("RetriesGoOn", "it is tried again for 36 s before"),
        ],
    },
    Fault {
        kind: Kind::VerifierStopped,
        name: "VerifyOld",
        what: "the job `saga verify --since-last` is stopped",
        repair: "it is started",
        rings: &[("VerifyOld", "")],
        also: &[],
    },
    Fault {
        kind: Kind::ServiceKilled,
        name: "NotConsuming",
        what: "payment is killed",
        repair: "it is started",
        rings: &[("NotConsuming", "payment")],
        also: &[],
    },
    Fault {
        kind: Kind::LockedTable,
        name: "HeldUp",
        what: "a transaction locks inventory's table `products`",
        repair: "it ends",
        rings: &[("HeldUp", "inventory")],
        also: &[
            ("RetriesGoOn", "the messages wait in the last retry queue"),
            ("OrdersStuck", "compensations wait, too"),
        ],
    },
    Fault {
        kind: Kind::ClockAhead,
        name: "ClockWrong",
        what: "shipping's clock is five minutes ahead",
        repair: "it is right",
        rings: &[("ClockWrong", "shipping")],
        also: &[],
    },
    Fault {
        kind: Kind::SlowDatabase,
        name: "QueueBehind",
        what: "shipping handles two messages a second, and 1,600 orders come",
        repair: "it is as fast as before",
        rings: &[("QueueBehind", "shipping.inventory-reserved")],
        also: &[],
    },
    Fault {
        kind: Kind::RefusedReleases,
        name: "RetriesGoOn",
        what: "inventory's database refuses to release goods",
        repair: "it does",
        rings: &[("RetriesGoOn", "inventory.retry.30s")],
        also: &[
            ("RetriesGoOn", "the first retry queues have messages, too"),
            ("OrdersStuck", "compensations wait"),
        ],
    },
    Fault {
        kind: Kind::MemoryAlarm,
        name: "BrokerAlarm",
        what: "RabbitMQ may use hardly any memory",
        repair: "it may use its share",
        rings: &[("BrokerAlarm", "")],
        also: &[],
    },
    Fault {
        kind: Kind::ExporterStopped,
        name: "TargetDown",
        what: "node_exporter is stopped",
        repair: "it is started",
        rings: &[("TargetDown", "verify")],
        also: &[],
    },
    Fault {
        kind: Kind::BrokerKilled,
        name: "broker-killed",
        what: "RabbitMQ is killed",
        repair: "it is started",
        rings: &[
            ("NotConsuming", "order"),
            ("NotConsuming", "payment"),
            ("NotConsuming", "inventory"),
            ("NotConsuming", "shipping"),
            ("OutboxOld", "order"),
            ("TargetDown", "rabbitmq"),
            ("TargetDown", "queues"),
        ],
        also: &[("OutboxOld", "others have events to publish, too")],
    },
    Fault {
        kind: Kind::CollectorStopped,
        name: "collector-stopped",
        what: "the collector is stopped",
        repair: "it is started",
        rings: &[
            ("TargetDown", "services"),
            ("NotConsuming", "order"),
            ("NotConsuming", "payment"),
            ("NotConsuming", "inventory"),
            ("NotConsuming", "shipping"),
        ],
        also: &[],
    },
];

/// The faults of these names, which commas separate; all without one.
pub fn named(names: &str) -> Result<Vec<&'static Fault>, String> {
    let names: Vec<_> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let find = |name: &str| FAULTS.iter().find(|fault| fault.name.eq_ignore_ascii_case(name));
    if let Some(unknown) = names.iter().find(|name| find(name).is_none()) {
        let all = FAULTS.iter().map(|fault| fault.name).collect::<Vec<_>>().join(", ");
        return Err(format!("{unknown:?} is no fault; there are {all}"));
    }
    let is_chosen = |fault: &&Fault| {
        names.is_empty() || names.iter().any(|name| fault.name.eq_ignore_ascii_case(name))
    };
    Ok(FAULTS.iter().filter(is_chosen).collect())
}

#[cfg(test)]
mod tests {
    use super::super::scale;
    use super::*;

    #[test]
    fn every_alert_has_a_fault_of_its_name() {
        let alerts = scale::names();
        for alert in &alerts {
            let own = FAULTS.iter().find(|fault| fault.name == *alert);
            let own = own.unwrap_or_else(|| panic!("{alert}: give it a fault"));
            assert!(own.rings.iter().any(|(rings, _)| rings == alert), "{alert}");
        }
        let named = FAULTS.iter().flat_map(|fault| fault.rings.iter().chain(fault.also));
        for (alert, _) in named {
            assert!(alerts.iter().any(|known| known == alert), "{alert} is no alert");
        }
    }

    #[test]
    fn faults_are_chosen_by_their_names() {
        let two: Vec<_> = named("targetdown, DeadLetters").unwrap();
        assert_eq!(two.iter().map(|it| it.name).collect::<Vec<_>>(), ["DeadLetters", "TargetDown"]);
        assert_eq!(named("").unwrap().len(), FAULTS.len());
        let error = named("Earthquake").err().unwrap();
        assert!(
            error.starts_with("\"Earthquake\" is no fault; there are DeadLetters, "),
            "{error}"
        );
    }
}
