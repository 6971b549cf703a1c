// Applies the chosen theme before the first paint; a file and not an inline script because of the content security policy.
(function () {
  try {
    var theme = localStorage.getItem("mesher.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be forbidden; then the system's preference holds.
  }
})();
