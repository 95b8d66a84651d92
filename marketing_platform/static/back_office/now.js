// The front page asks for news every few seconds, but not while nobody can see it.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden) event.preventDefault();
});
// A log-in page in place of the news: show it as a page of its own.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.detail.serverResponse.includes('id="now"')) {
    event.detail.shouldSwap = false;
    if (event.detail.xhr.status < 500) window.location.reload();
  }
});
