// Tealium iQ: a JavaScript Code extension, before load rules. Replace the settings and the categories.
// Every page view and event of the data layer can then call window.cdp.push(["track", "Product Viewed", {...}]).
(function () {
  var SERVICE = "https://data.example";
  var SETTINGS = { "write-key": "wk_…", purposes: "analytics advertising", notice: "2026-11" };
  var CATEGORIES = { analytics: ["analytics"], advertising: ["display_ads", "social"] };

  window.cdp = window.cdp || [];
  if (!document.getElementById("cdp-client")) {
    var script = document.createElement("script");
    script.id = "cdp-client";
    script.src = SERVICE + "/cdp.js?" + Object.keys(SETTINGS).map(function (name) {
      return name + "=" + encodeURIComponent(SETTINGS[name]);
    }).join("&");
    document.head.appendChild(script);
  }

  // Tealium's consent manager: 1 is full consent, -1 a refusal, 0 no answer, and a list the categories of an answer in part.
  var state = window.utag && utag.gdpr ? utag.gdpr.getConsentState() : 0;
  if (state === 0) return;
  var answers = {};
  Object.keys(CATEGORIES).forEach(function (purpose) {
    answers[purpose] = CATEGORIES[purpose].every(function (category) {
      return state === 1 || (Array.isArray(state) && state.some(function (one) {
        return one.name === category && String(one.ct) === "1";
      }));
    });
  });
  window.cdp.push(["answered", answers]);
})();
