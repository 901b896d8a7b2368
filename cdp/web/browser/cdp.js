/* cdp.js: the browser client of cdp. It asks no other host than the one that serves it, and stores nothing before an answer. */
(() => {
  "use strict";
  const VERSION = "1";
  const script = document.currentScript, source = new URL(script.src);
  const HOST = source.origin;
  // Attributes of the element, or parameters of its address: tag managers can set no attributes.
  const setting = name => script.getAttribute("data-" + name) || source.searchParams.get(name) || "";
  const KEY = setting("write-key"), NOTICE = setting("notice");
  const BEFORE = setting("before") || "silent"; // what happens to messages before an answer: silent, defer or send
  const PURPOSES = setting("purposes").split(/[\s,]+/).filter(Boolean);
  const ANSWERED = "Segment Consent Preference Updated";
  const QUEUE_MAX = 100, MESSAGE_MAX = 32000, UNLOAD_MAX = 60000, WAIT_MAX = 60000;
  const store = open();
  const own = "cdp.queue." + id();
  let known = read("cdp") || {}; // what this browser keeps: its id, the person's id and the answer
  let device = known.id || id(), user = known.user;
  let queue = [], dropped = 0, timer = 0, busy = false, failures = 0, waiting = [];

  function id() {
    return crypto.randomUUID ? crypto.randomUUID() : "10000000-1000-4000-8000-100000000000".replace(/[018]/g, c =>
      (c ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (c / 4)))).toString(16));
  }

  // localStorage can be absent or full; everything works without it, for as long as the page is open.
  function open() {
    try { localStorage.setItem("cdp.try", "1"); localStorage.removeItem("cdp.try"); return localStorage; } catch { return null; }
  }
  function read(key) {
    try { return JSON.parse(store.getItem(key)); } catch { return null; }
  }
  function write(key, value) {
    try { value ? store.setItem(key, JSON.stringify(value)) : store.removeItem(key); } catch { /* full or absent */ }
  }

  const gpc = () => navigator.globalPrivacyControl === true;
  const answer = () => known.answer;
  const granted = () => !!answer() && Object.values(answer().purposes).some(Boolean);
  // An answer to another notice is asked for again; until then a refusal stays one and a grant counts for what it named.
  const needsAnswer = () => !answer() || (NOTICE !== "" && answer().notice !== NOTICE) ||
    PURPOSES.some(purpose => !(purpose in answer().purposes));
  const mayKeep = () => granted() || (!answer() && BEFORE === "send");
  const maySend = () => granted() || (!answer() && BEFORE !== "silent");

  function keep(at = Date.now()) {
    known = { ...(mayKeep() ? { id: device, user } : {}), ...(answer() ? { answer: answer() } : {}) };
    write("cdp", Object.keys(known).length ? known : null);
    // Of somebody who refused or did not answer, nothing but the refusals themselves waits in the browser.
    const kept = mayKeep() ? queue : queue.filter(isAnswer);
    write(own, kept.length ? { at, messages: kept } : null);
  }

  const isAnswer = message => message.event === ANSWERED;

  function address(text) {
    try { const url = new URL(text); return url.origin + url.pathname; } catch { return ""; }
  }

  function message(type, fields) {
    const consent = {};
    if (answer()) {
      consent.categoryPreferences = answer().purposes;
      if (answer().notice) consent.noticeVersion = answer().notice;
    }
    if (gpc()) consent.globalPrivacyControl = true;
    const page = { url: address(location.href), path: location.pathname, title: document.title };
    if (document.referrer) page.referrer = address(document.referrer);
    const context = { library: { name: "cdp.js", version: VERSION }, locale: navigator.language, page };
    if (Object.keys(consent).length) context.consent = consent;
    const made = { type, messageId: id(), anonymousId: device, timestamp: new Date().toISOString(), context, ...fields };
    if (user) made.userId = user;
    return made;
  }

  function add(made) {
    if (JSON.stringify(made).length > MESSAGE_MAX) {
      dropped++;
      console.warn("cdp: a message of more than " + MESSAGE_MAX + " characters was not sent");
      return;
    }
    queue.push(made);
    while (queue.length > QUEUE_MAX) { // the oldest event goes; an answer never does
      const at = queue.findIndex(one => !isAnswer(one));
      if (at < 0) break;
      queue.splice(at, 1);
      dropped++;
    }
    keep();
    plan(0);
  }

  function plan(milliseconds) {
    if (timer) clearTimeout(timer);
    timer = setTimeout(flush, milliseconds);
  }

  const body = messages => JSON.stringify({ batch: messages, writeKey: KEY, sentAt: new Date().toISOString() });

  function head(messages) { // as many from the front as one request may have that a page sends while it ends
    let size = 200, count = 0;
    for (const made of messages) {
      size += new Blob([JSON.stringify(made)]).size + 1;
      if (count && size > UNLOAD_MAX) break;
      count++;
    }
    return messages.slice(0, count);
  }

  function done(messages, error) {
    queue = queue.filter(made => !messages.includes(made));
    keep();
    waiting = waiting.filter(one => queue.includes(one.made) || (error ? one.reject(error) : one.resolve()));
  }

  // text/plain needs no preflight, and the service reads the bytes, not the label
  const post = messages => fetch(HOST + "/v1/batch", {
    method: "POST", body: body(messages), keepalive: true, credentials: "omit", referrerPolicy: "no-referrer",
    headers: { "Content-Type": "text/plain" },
  });

  async function flush() {
    timer = 0;
    if (busy || !queue.length) return;
    busy = true;
    const sent = head(queue);
    let wait = -1;
    try {
      const response = await post(sent);
      if (response.status === 200 || (response.status >= 400 && response.status < 500 && response.status !== 429 &&
          response.status !== 408)) {
        let error = null;
        if (response.status !== 200) {
          dropped += sent.length;
          error = new Error("cdp: the service refused messages: " + response.status + " " + (await response.text()).slice(0, 200));
          console.error(error.message);
        }
        failures = 0;
        done(sent, error);
      } else wait = 1000 * (parseInt(response.headers.get("Retry-After"), 10) || 0);
    } catch { wait = 0; }
    busy = false;
    if (wait >= 0) plan(Math.max(wait, Math.min(WAIT_MAX, 500 * 2 ** failures++) * (0.5 + Math.random() / 2)));
    else if (queue.length) plan(0);
  }

  // The page may end now. Events count as sent once the browser has taken them; an answer waits for its confirmation. A request
  // that outlives its page carries no cookies; a beacon, for browsers without such requests, always carries those of its host.
  const outlives = "keepalive" in Request.prototype;
  function leave() {
    let left = queue;
    while (left.length && navigator.onLine) {
      const sent = head(left);
      if (outlives) post(sent).catch(() => {});
      else if (!navigator.sendBeacon(HOST + "/v1/batch", new Blob([body(sent)], { type: "text/plain" }))) break;
      left = left.slice(sent.length);
    }
    queue = [...queue.slice(0, queue.length - left.length).filter(isAnswer), ...left];
    keep(0);
  }

  function adopt() { // what an earlier page could not send
    if (!store) return;
    for (const key of Object.keys(store).filter(key => key.startsWith("cdp.queue.") && key !== own)) {
      const left = read(key);
      if (left && Date.now() - left.at < 60000 && Date.now() >= left.at) continue; // perhaps of another tab
      write(key, null);
      if (left) queue.push(...left.messages);
    }
    queue = queue.slice(-QUEUE_MAX);
    if (queue.length) { keep(); plan(0); }
  }

  const api = {
    /** Record a page view. */
    page(name, properties) {
      const page = { url: address(location.href), path: location.pathname, title: document.title, ...properties };
      if (maySend()) add(message("page", { ...(name ? { name } : {}), properties: page }));
    },
    /** Record an event. */
    track(event, properties) {
      if (maySend()) add(message("track", { event, properties: properties || {} }));
    },
    /** Say who is logged in; the id is kept only with consent. */
    identify(who, traits) {
      if (!maySend()) return;
      user = String(who);
      add(message("identify", { traits: traits || {} }));
    },
    /** Record an answer, such as {analytics: true}; what is left out is refused. Resolves when the service has stored it, rejects if it refuses it. */
    consent(purposes) {
      const all = Object.fromEntries(PURPOSES.map(purpose => [purpose, false]));
      for (const purpose in purposes) all[purpose] = purposes[purpose] === true;
      known.answer = { purposes: all, at: new Date().toISOString(), ...(NOTICE ? { notice: NOTICE } : {}) };
      if (!granted()) queue = queue.filter(isAnswer);
      const made = message("track", { event: ANSWERED, properties: {} });
      add(made);
      const stored = new Promise((resolve, reject) => waiting.push({ made, resolve: () => void resolve(), reject: error => void reject(error) }));
      stored.catch(() => {}); // who does not wait for it reads of it in the console
      return stored;
    },
    /** Record the answer that a consent tool has, unless it is the one that is known: for callers that do not see it change. */
    answered(purposes) {
      const same = answer() && !needsAnswer() && PURPOSES.every(purpose => answer().purposes[purpose] === (purposes[purpose] === true));
      return same ? Promise.resolve() : api.consent(purposes);
    },
    /** Forget the person and the device, such as at a logout; the answer stays. */
    reset() {
      user = undefined;
      device = id();
      keep();
    },
    /** The answer, whether one is needed, and what waits. */
    state() {
      return { answer: answer() || null, needsAnswer: needsAnswer(), gpc: gpc(), queued: queue.length, dropped };
    },
    /** Call by name, as a list that was there before the script was loaded: ["track", "Product Viewed", {}]. */
    push(call) {
      if (call[0] in api) api[call[0]](...call.slice(1));
    },
    /** Show a banner if an answer is needed; resolves with the purposes when it was given. */
    ask(texts) {
      return needsAnswer() && !document.getElementById("cdp-consent") ? banner(texts || {}) : Promise.resolve(null);
    },
  };

  function element(tag, fields, style, ...children) {
    const made = Object.assign(document.createElement(tag), fields);
    made.style.cssText = style; // through the object model, which a strict content security policy permits
    made.append(...children);
    return made;
  }

  function banner(texts) {
    const line = "display:block;margin:.4em 0";
    const press = "font:inherit;margin:.4em .6em 0 0;padding:.5em 1em;border:1px solid;background:#fff;color:#000;cursor:pointer";
    return new Promise(resolve => {
      const boxes = PURPOSES.map(purpose => element("input", { type: "checkbox", name: purpose }, "margin-right:.5em"));
      const end = purposes => {
        box.remove();
        api.consent(purposes);
        resolve(purposes);
      };
      const all = value => Object.fromEntries(PURPOSES.map(purpose => [purpose, value]));
      const button = (name, text, chosen) =>
        element("button", { id: "cdp-" + name, type: "button", textContent: text, onclick: () => end(chosen()) }, press);
      const box = element("div", { id: "cdp-consent" },
        "position:fixed;bottom:0;left:0;right:0;z-index:2147483647;padding:1em;background:#fff;color:#000;border-top:1px solid;font:16px/1.4 sans-serif",
        element("strong", { id: "cdp-consent-title", textContent: texts.title || "May we use your data?" }, line),
        element("p", { textContent: texts.text || "Choose what we may use your data for. You can change your answer at any time." }, line),
        ...boxes.map(input => element("label", {}, line, input, (texts.purposes || {})[input.name] || input.name)),
        button("refuse", texts.refuse || "Refuse all", () => all(false)),
        button("save", texts.save || "Save choice", () => Object.fromEntries(boxes.map(input => [input.name, input.checked]))),
        button("accept", texts.accept || "Accept all", () => all(true)));
      box.setAttribute("role", "dialog");
      box.setAttribute("aria-labelledby", "cdp-consent-title");
      document.body.append(box);
    });
  }

  if (!KEY) return console.error("cdp: the write key is missing (data-write-key)");
  addEventListener("pagehide", leave);
  addEventListener("visibilitychange", () => document.visibilityState === "hidden" && leave());
  addEventListener("online", () => { failures = 0; plan(0); });
  const early = Array.isArray(window.cdp) ? window.cdp : [];
  window.cdp = api;
  adopt();
  early.forEach(api.push);
})();
