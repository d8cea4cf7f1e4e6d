//! Secrets change while orders flow: the passwords of all databases and of all broker users, and
//! the provider's token. They are in files, and nowhere else.

use e2e::{Fleet, PLENTY, SERVICES, order, until};
use futures::future::{join_all, try_join_all};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::{fs, time::Duration};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// Placed while all of this happens: so many a second.
const RATE: u64 = 30;
/// The provider's, by the round.
const TOKENS: [&str; 3] = ["token-zero", "token-one", "token-two"];

#[derive(Clone, Copy, Debug)]
enum Order {
    ServersFirst,
    FilesFirst,
}

#[derive(Clone, Copy, Debug)]
enum Server {
    Postgres,
    RabbitMq,
}

/// A service's password in this round, with characters that a URL cannot take as they are.
fn password(service: &str, round: u32) -> String {
    format!("{service}-{round}:@/?#%")
}

fn encoded(password: &str) -> String {
    let code = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    password.bytes().map(code).collect()
}

fn role(service: &str) -> String {
    format!("{service}_role")
}

struct Rotation {
    fleet: Fleet,
}

impl Rotation {
    /// Services that log in to their own roles and users, by files.
    async fn start() -> Self {
        let fleet = Fleet::prepare_on_own_servers(Fleet::given_rabbitmq(), false).await;
        let mut this =
            Self { fleet: fleet.with_provider(&[("MOCK_GATEWAY_TOKENS", TOKENS[0])]).await };
        fs::write(this.token_file(), TOKENS[0]).unwrap();
        let mut superuser = this.superuser().await;
        for service in SERVICES {
            let (role, database) = (role(service), this.database(service));
            let password = password(service, 0);
            for statement in [
                format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"),
                format!("ALTER DATABASE {database} OWNER TO {role}"),
            ] {
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
            }
        }
        this.change_users(0).await;
        this.write_files(Server::Postgres, 0);
        this.write_files(Server::RabbitMq, 0);
        for service in SERVICES {
            let [database, amqp] = this.files(service).map(|file| file.display().to_string());
            let token = this.token_file().display().to_string();
            let settings = [
                ("DATABASE_URL", ""),
                ("DATABASE_URL_FILE", &*database),
                ("AMQP_URL", ""),
                ("AMQP_URL_FILE", &*amqp),
                ("DATABASE_DEADLINE", "4s"),
                ("PAYMENT_GATEWAY_TOKEN_FILE", &*token),
                ("LOG", "debug"),
            ];
            this.fleet.spawn_as(service, service, &settings);
        }
        this.fleet.ready().await;
        this
    }

    fn token_file(&self) -> std::path::PathBuf {
        self.fleet.file("token")
    }

    async fn superuser(&self) -> PgConnection {
        let url = self.fleet.own_postgres.as_ref().unwrap().superuser_url();
        PgConnection::connect(&url).await.unwrap()
    }

    fn database(&self, service: &str) -> &str {
        self.fleet.database_url(service).rsplit_once('/').unwrap().1
    }

    fn files(&self, service: &str) -> [std::path::PathBuf; 2] {
        ["database-url", "amqp-url"].map(|name| self.fleet.file(&format!("{service}-{name}")))
    }

    fn urls(&self, service: &str, round: u32) -> [String; 2] {
        let password = encoded(&password(service, round));
        let (database, broker) = (self.fleet.database_url(service), &self.fleet.broker.amqp_url);
        [
            database.replace("postgres:postgres@", &format!("{}:{password}@", role(service))),
            broker.replace("admin:admin@", &format!("{service}:{password}@")),
        ]
    }

    fn write_files(&self, server: Server, round: u32) {
        for service in SERVICES {
            let (file, url) = (&self.files(service)[server as usize], self.urls(service, round));
            // Not at once, as an editor or a careless script does it.
            fs::write(file, "").unwrap();
            fs::write(file, format!("{}\n", url[server as usize])).unwrap();
        }
    }

    async fn change(&self, server: Server, round: u32) {
        match server {
            Server::Postgres => self.change_roles(round).await,
            Server::RabbitMq => self.change_users(round).await,
        }
    }

    async fn change_roles(&self, round: u32) {
        let mut superuser = self.superuser().await;
        for service in SERVICES {
            let change =
                format!("ALTER ROLE {} PASSWORD '{}'", role(service), password(service, round));
            sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut superuser).await.unwrap();
        }
    }

    async fn change_users(&self, round: u32) {
        let vhost = &self.fleet.broker.vhost;
        let users = messaging::users(&SERVICES, vhost, |service| password(service, round));
        self.fleet.broker.import(users).await;
    }

    /// Ends all sessions of the services, as an operator does whose passwords were stolen.
    async fn end_sessions(&self, server: Server) {
        match server {
            Server::Postgres => {
                let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                           WHERE usename = ANY($1)";
                let mut superuser = self.superuser().await;
                let ended = sqlx::query_scalar(end).bind(SERVICES.map(role));
                let ended: i64 = ended.fetch_one(&mut superuser).await.unwrap();
                assert!(ended >= 4, "{ended}");
            }
            Server::RabbitMq => {
                let rabbit = self.fleet.own_rabbit.as_ref().unwrap();
                let end = SERVICES.map(async |user| {
                    let call = "rabbit_networking:close_all_user_connections";
                    rabbit.eval(&format!("{call}(<<\"{user}\">>, <<\"rotated\">>).")).await
                });
                try_join_all(end).await.unwrap();
            }
        }
    }

    /// How often each service was refused so far.
    fn refusals(&self, server: Server) -> [usize; 4] {
        let said = match server {
            Server::Postgres => "password authentication failed",
            Server::RabbitMq => "the broker rejected the login",
        };
        SERVICES.map(|service| self.fleet.process(service).log().matches(said).count())
    }

    async fn rotate(&self, server: Server, order: Order, round: u32) {
        let before = self.refusals(server);
        match order {
            Order::ServersFirst => self.change(server, round).await,
            Order::FilesFirst => self.write_files(server, round),
        }
        self.end_sessions(server).await;
        until(|| async {
            let now = self.refusals(server);
            let all = now.iter().zip(before).all(|(now, before)| *now > before);
            if all { Ok(()) } else { Err(format!("{server:?} {order:?}: {before:?} to {now:?}")) }
        })
        .await;
        match order {
            Order::ServersFirst => self.write_files(server, round),
            Order::FilesFirst => self.change(server, round).await,
        }
        self.fleet.ready().await;
    }

    /// The provider knows both tokens for a while.
    async fn rotate_token(&self, round: usize) {
        let provider = self.fleet.provider.as_ref().unwrap();
        provider.behave(json!({"tokens": [TOKENS[round - 1], TOKENS[round]]})).await;
        fs::write(self.token_file(), TOKENS[round]).unwrap();
        // A call that was made with the old one, and has not arrived yet, is for one of these.
        for id in self.fleet.placed() {
            self.fleet.ends(id).await;
        }
        provider.behave(json!({"tokens": [TOKENS[round]]})).await;
    }

    /// No secret is in an argument, in the environment or in a log.
    fn are_nowhere(&self) {
        let mut secrets: Vec<String> = TOKENS.map(str::to_owned).into();
        for (service, round) in SERVICES.into_iter().flat_map(|it| (0..3).map(move |at| (it, at))) {
            let password = password(service, round);
            secrets.extend([encoded(&password), password]);
        }
        for service in SERVICES {
            let process = self.fleet.process(service);
            let of = |file: &str| {
                let bytes = fs::read(format!("/proc/{}/{file}", process.pid())).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            for text in [of("environ"), of("cmdline"), process.log()] {
                assert!(!text.is_empty());
                for secret in &secrets {
                    assert!(!text.contains(secret), "{service} shows {secret}");
                }
            }
            let core = of("limits");
            let core = core.lines().find(|line| line.starts_with("Max core file size")).unwrap();
            assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
        }
    }

    /// Nobody gets in with the last round's passwords.
    async fn are_void(&self, round: u32) {
        for service in SERVICES {
            let [database, amqp] = self.urls(service, round);
            assert!(PgConnection::connect(&database).await.is_err(), "{service}");
            assert!(messaging::RabbitMq::connection(&amqp, "thief").await.is_err(), "{service}");
        }
    }
}

#[tokio::test]
async fn every_password_is_changed_under_load_and_no_order_is_lost() {
    let mut rotation = Rotation::start().await;
    let stop = CancellationToken::new();
    let load = async {
        let wish = order("pix", PLENTY, 1);
        let mut ticks = interval(Duration::from_millis(1000 / RATE));
        let placing = async {
            let mut placed = Vec::new();
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                placed.push(rotation.fleet.place_surely(&wish));
                if placed.len() == 8 {
                    join_all(std::mem::take(&mut placed)).await;
                }
            }
            join_all(placed).await;
        };
        placing.await;
    };
    let change = async {
        for (order, round) in [(Order::ServersFirst, 1), (Order::FilesFirst, 2)] {
            for server in [Server::Postgres, Server::RabbitMq] {
                rotation.rotate(server, order, round).await;
            }
            rotation.rotate_token(round as usize).await;
            rotation.are_void(round - 1).await;
        }
        stop.cancel();
    };
    tokio::join!(load, change);
    for id in rotation.fleet.placed() {
        assert_eq!(rotation.fleet.ends(id).await["status"], "CONFIRMED");
    }
    rotation.fleet.verify().await;
    rotation.are_nowhere();
    assert_eq!(rotation.fleet.provider().total("refused").await, 0);
    // The services were there all the time.
    for service in SERVICES {
        let log = rotation.fleet.process(service).log();
        assert_eq!(log.matches(&format!("{service} runs")).count(), 1, "{log}");
        assert!(rotation.fleet.take(service).stop().await.0.success());
    }
    rotation.fleet.close().await;
}
