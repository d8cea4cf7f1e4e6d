use e2e::{Fleet, until};
use page::Browser;

async fn key(fleet: &Fleet, client: &str, role: &str) -> String {
    let said = fleet.saga(&["keys", "create", client, "--role", role, "--json"]).await;
    let key = said.json()["key"].as_str().expect("a key").to_owned();
    until(|| async {
        let url = format!("{}/orders/x", fleet.order_url);
        let status = fleet.http.get(url).bearer_auth(&key).send().await.expect("it answers");
        if status.status() == 404 { Ok(()) } else { Err(status.status().to_string()) }
    })
    .await;
    key
}

#[tokio::test]
async fn a_person_signs_in_with_a_key_and_does_what_its_role_may() {
    let fleet = Fleet::start_with(&[("API_KEYS", "required"), ("DEMO", "1")]).await;
    let (viewer, operator) =
        (key(&fleet, "board", "viewer").await, key(&fleet, "anna", "operator").await);
    let browser = Browser::start(fleet.file("chromium")).await;
    let tab = browser.tab().await;
    let signs_in = async |key: &str| {
        // Its script runs by then.
        tab.shows("document.querySelector('#key') && document.readyState === 'complete'").await;
        let fill = format!("document.querySelector('#key').value = '{key}'");
        tab.eval(&fill).await;
        tab.click("form button").await;
    };
    tab.open(&fleet.order_url).await;
    signs_in("qk_nonsense").await;
    tab.says("#said", "not valid").await;
    signs_in(&viewer).await;
    tab.shows("document.querySelector('#live').dataset.live === 'on'").await;
    tab.says("#sign-out", "board").await;
    assert_eq!(tab.eval("document.cookie").await, "", "no script reads the cookie");
    assert_eq!(tab.eval("document.querySelectorAll('[data-scenario], #tour').length").await, 0);

    tab.click("#sign-out").await;
    signs_in(&operator).await;
    tab.shows("document.querySelector('#live').dataset.live === 'on'").await;
    tab.shows("document.querySelector('#tour')").await;
    tab.click("[data-scenario=happy]").await;
    tab.shows("document.querySelector('#orders [data-state=confirmed]')").await;
    tab.is_content("signed in").await;

    // A page that is open ends with its key.
    let revoked = fleet.saga(&["keys", "revoke", &operator[3..19]]).await;
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    tab.shows("document.querySelector('#live').dataset.live === 'off'").await;
    tab.open(&fleet.order_url).await;
    tab.shows("document.querySelector('#key')").await;
    drop(browser);
    fleet.close().await;
}
