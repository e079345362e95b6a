// Forms whose action cannot be taken back ask once more.
for (const form of document.querySelectorAll("form[data-confirm]"))
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
