use page::Stage;

/// Desktop and phone, light and dark.
const SCREENS: [(&str, u32, u32); 2] = [("desk", 1280, 1000), ("phone", 360, 780)];

#[tokio::test]
async fn it_fits_a_desk_and_a_phone_by_day_and_by_night() {
    let mut stage = Stage::open().await;
    for name in ["happy", "declined", "sold-out", "flaky", "carrier"] {
        stage.tab.click(&format!("[data-scenario={name}]")).await;
    }
    stage.tab.says("#detail .status", "CANCELLED").await;
    stage.tab.shows("document.querySelector('[data-count=open]').textContent === '0'").await;
    stage.tab.click("[data-scenario=carrier]").await;
    stage.tab.shows("document.querySelector('[data-count=undone]').textContent === '3'").await;
    stage.tab.picture(Stage::album().join("dance.png")).await;
    let ended = stage.tab.eval("location.origin + '/?order=' + detail.dataset.order").await;
    stage.fleet.take("inventory").kill();
    stage.tab.click("[data-scenario=happy]").await;
    stage.tab.says("#orders a[aria-current]", "waits: inventory").await;
    for (screen, width, height) in SCREENS {
        for scheme in ["light", "dark"] {
            stage.tab.looks(width, height, scheme).await;
            stage.tab.open(ended.as_str().unwrap()).await;
            stage.tab.shows("document.querySelector('#live').dataset.live === 'on'").await;
            stage.tab.says("[data-number='inventory.consumers']", "0 consumers").await;
            // Nothing is wider than the screen.
            let width = stage.tab.eval("document.documentElement.scrollWidth - innerWidth").await;
            assert_eq!(width, 0, "{screen}");
            let unlike = if scheme == "dark" { "<" } else { ">" };
            let ground = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])";
            stage.tab.shows(&format!("{ground} {unlike} 128")).await;
            stage.tab.picture(Stage::album().join(format!("{screen}-{scheme}.png"))).await;
        }
    }
    stage.close().await;
}
