// Writes the theme on the root element before the first paint: the chosen one, else the system's.
// A file and not an inline script because of the content security policy.
(function () {
  var theme = null;
  try {
    theme = localStorage.getItem("mesher.theme");
  } catch {
    // Storage may be forbidden; then the system's preference holds.
  }
  if (theme !== "light" && theme !== "dark") theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
})();
