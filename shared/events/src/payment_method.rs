//! Defines the payment methods: those of the contract, and those that only a build with the
//! demonstration knows (feature `demo`).

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// This build knows the demonstration's methods.
pub const HAS_DEMO: bool = cfg!(feature = "demo");

macro_rules! payment_methods {
    (
        contract { $($method:ident => $name:literal,)* }
        demo { $($wish:ident => $wish_name:literal,)* }
    ) => {
        /// How an order is paid. A build with the demonstration knows more: see docs/tour.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum PaymentMethod {
            $($method,)*
            $(
                #[cfg(feature = "demo")]
                #[cfg_attr(feature = "schema", schemars(skip))]
                $wish,
            )*
        }

        impl PaymentMethod {
            pub const ALL: &[Self] = &[
                $(Self::$method,)*
                $(
                    #[cfg(feature = "demo")]
                    Self::$wish,
                )*
            ];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$method => $name,)*
                    $(
                        #[cfg(feature = "demo")]
                        Self::$wish => $wish_name,
                    )*
                }
            }

            /// Asks the simulated provider for an ending.
            pub const fn is_demo(self) -> bool {
                match self {
                    $(Self::$method => false,)*
                    $(
                        #[cfg(feature = "demo")]
                        Self::$wish => true,
                    )*
                }
            }
        }
    };
}

payment_methods! {
    contract {
        CreditCard => "credit_card",
        DebitCard => "debit_card",
        Pix => "pix",
        BankTransfer => "bank_transfer",
    }
    demo {
        CardDeclined => "card_declined",
        CardUnavailable => "card_unavailable",
        CardFlaky => "card_flaky",
        CardSlow => "card_slow",
    }
}

impl fmt::Display for PaymentMethod {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for PaymentMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|method| method.name() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|method| method.name()).collect();
            format!("unknown payment method {text:?}; known are {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_written_and_read_by_its_name() {
        for method in PaymentMethod::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
            assert_eq!(method.name().parse::<PaymentMethod>(), Ok(*method));
        }
    }

    #[test]
    fn only_a_build_with_the_demonstration_knows_its_methods() {
        assert_eq!(PaymentMethod::ALL.iter().any(|method| method.is_demo()), HAS_DEMO);
        assert_eq!("card_declined".parse::<PaymentMethod>().is_ok(), HAS_DEMO);
    }
}
