// What pages can do only with JavaScript: copy a field, show a secret. Everything else works without.
function ready(within) {
  for (const button of within.querySelectorAll("[data-copy], [data-reveal]")) button.hidden = false;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-reveal]");
  if (!button) return;
  if (button.dataset.reveal) {
    const field = document.getElementById(button.dataset.reveal);
    field.type = field.type === "password" ? "text" : "password";
    return;
  }
  const field = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(field.value);
  } catch { // no permission, or not a secure place: the person copies what is marked
    field.type = "text";
    field.select();
    return;
  }
  const before = button.textContent;
  button.textContent = button.dataset.done;
  setTimeout(() => { button.textContent = before; }, 2000);
});

document.addEventListener("htmx:load", (event) => ready(event.target));
ready(document);
