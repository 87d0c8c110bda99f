// A page that waits looks again without being loaded anew: who has it read aloud is not interrupted until there is news.
// Old phones have scripts, too, so it is written as they read it; without scripts the page says when to load it again.
(function () {
  "use strict";
  var main = document.querySelector("main[data-state]");
  if (!main) return;
  // After a click the address is that of the click, which leads elsewhere once it can: only the page itself is looked at.
  var page = location.pathname.replace(/\/(join|start)\/?$/, "");
  var state = main.getAttribute("data-state"), every = Number(main.getAttribute("data-again")) * 1000;
  function look() {
    var request = new XMLHttpRequest();
    request.onload = function () {
      var news = new DOMParser().parseFromString(request.responseText, "text/html").querySelector("main[data-state]");
      if (news && news.getAttribute("data-state") !== state) location.reload();
      else later();
    };
    request.onerror = request.ontimeout = later; // the phone may be without a network for a while
    request.timeout = 20000;
    request.open("GET", page);
    request.send();
  }
  function later() {
    setTimeout(look, every);
  }
  later();
})();
