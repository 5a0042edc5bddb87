import { App, registrationOf, type AppOptions } from "./app.js";
import { english, type Texts } from "./cards.js";
import { Receipts } from "./receipts.js";
import { showTap } from "./screen.js";
import { registerSync } from "./sync.js";
import { isPending, Taps } from "./taps.js";

/** What a page works with. */
export interface Client {
  app: App;
  taps: Taps;
  /** Ends what the page does by itself: what waits goes on in the worker, or at the next start. */
  stop: () => void;
}

/** How a page is started. */
export interface StartOptions extends AppOptions {
  /** What notifications say that are not the server's own. Default: English. */
  texts?: Partial<Texts>;
}

/**
 * Opens the app in a page, and goes on with what was left when the last one was
 * ended: taps and receipts that the server has not heard of. They are tried at
 * once when the network is back, or somebody looks at the page again.
 */
export async function start(options: StartOptions = {}): Promise<Client> {
  const texts = { ...english, ...options.texts };
  const app = await App.open(options);
  const worker = () => registrationOf().catch(() => undefined);
  const taps = new Taps(app, async (tap) => {
    if (tap.card) {
      await showTap(await worker(), tap, texts);
    }
  });
  const receipts = new Receipts(app);
  const ended = new AbortController();
  app.listen((news) => {
    if (news.type === "tap" && isPending(news.tap) && news.tap.problem) {
      void worker().then((registration) => registration && registerSync(registration)); // the page may be gone when the network is back
    }
  });
  const hurry = () => {
    if (document.visibilityState === "visible") {
      void taps.hurry();
      void receipts.hurry(ended.signal);
    }
  };
  addEventListener("online", hurry, { signal: ended.signal });
  document.addEventListener("visibilitychange", hurry, { signal: ended.signal });
  void taps.resume();
  void receipts.hurry(ended.signal);
  return {
    app,
    taps,
    stop: () => {
      ended.abort();
      app.close();
    },
  };
}
