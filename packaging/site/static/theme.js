// Light or dark, before the page is drawn, as furo's own line within the page does it.
document.body.dataset.theme = localStorage.getItem("theme") || "auto";
