// What the customer's page says only with JavaScript: its time in the reader's own zone, and how long until then.
// The elements fill themselves while the page is read, so that nothing moves once it is seen.
(() => {
  if (!window.customElements || !window.Intl || !Intl.RelativeTimeFormat) return;
  const loaded = Date.now();
  const shape = { weekday: "short", day: "numeric", month: "short", hour: "numeric", minute: "2-digit" };

  function clock(at, locale, zone, more) {
    return new Intl.DateTimeFormat(locale, { ...shape, timeZone: zone, ...more }).format(at * 1000);
  }

  // Coarse while it is far away, and never finished before it is: minutes and seconds are rounded up.
  function apart(seconds, locale) {
    const size = Math.abs(seconds);
    const format = new Intl.RelativeTimeFormat(locale);
    if (size >= 129600) return format.format(Math.round(seconds / 86400), "day");
    if (size >= 5400) return format.format(Math.round(seconds / 3600), "hour");
    if (size >= 60) return format.format(Math.ceil(seconds / 60), "minute");
    return format.format(Math.ceil(seconds), "second");
  }

  class OwnTime extends HTMLElement {
    connectedCallback() {
      const { at, locale, zone, yours } = this.dataset;
      const own = Intl.DateTimeFormat().resolvedOptions().timeZone;
      if (clock(at, locale, own) !== clock(at, locale, zone)) {
        this.textContent = `${yours.replace("{time}", clock(at, locale, own, { timeZoneName: "short" }))} `;
      }
      if (!this.dataset.begins) return;
      this.left = document.createElement("span");
      this.left.setAttribute("role", "timer");
      this.append(this.left);
      this.count();
      this.timer = setInterval(() => this.count(), 1000);
    }

    disconnectedCallback() {
      clearInterval(this.timer);
    }

    // The server's clock counts: a phone's may be wrong, but it runs as fast.
    count() {
      const { at, now, opens, locale, begins, began } = this.dataset;
      const passed = (Date.now() - loaded) / 1000;
      const seconds = at - now - passed;
      const text = (seconds > 0 ? begins : began).replace("{when}", apart(seconds, locale));
      if (this.left.textContent !== text) this.left.textContent = text;
      if (opens && opens - now - passed <= 0) {
        clearInterval(this.timer);
        location.reload(); // it opens now
      }
    }
  }

  try {
    customElements.define("own-time", OwnTime);
  } catch { // an old browser that has classes of elements in name only: the page says all that it must without them
  }
})();
