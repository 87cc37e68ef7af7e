"use strict";
// The pages work without this script; with it, one can copy a new token, is asked before what cannot be undone, and
// sees a QR code change.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      document.execCommand("copy"); // the clipboard API needs https or localhost
    }
    button.textContent = "Copiado";
  });
}
// What changes by itself is asked for again, while somebody looks.
for (const part of document.querySelectorAll("[data-renew]")) {
  const renew = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(part.dataset.renew, { redirect: "error" });
      const html = answer.ok ? await answer.text() : part.innerHTML;
      if (html.trim() !== (part.shown ?? "")) part.innerHTML = part.shown = html.trim();
    } catch {
      // the API is away, or the session is over: the next look tells
    }
  };
  setInterval(renew, 2000);
}
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!window.confirm(form.dataset.confirm)) event.preventDefault();
  });
}
