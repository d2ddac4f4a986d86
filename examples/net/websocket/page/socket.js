// connect keeps a socket open for as long as token is good. A close with 4001, or a
// 401, is the end; after anything else it comes back, ever more slowly.

const ended = 4001;
const slowest = 10_000;

export function connect(token, on) {
  let socket, timer, tries = 0, over = false;

  function open() {
    clearTimeout(timer);
    const url = new URL('/socket', location.href);
    url.protocol = url.protocol.replace('http', 'ws');
    // The second value is the token. The server answers with the first one.
    const opened = socket = new WebSocket(url, ['lapse.devices.v1', token]);
    let welcome = false;
    opened.onmessage = event => {
      welcome = true;
      tries = 0;
      const message = JSON.parse(event.data);
      if (message.error) on.error(message.error);
      else on.view(message);
    };
    opened.onclose = event => {
      if (over || opened !== socket) return;
      if (event.code === ended) return end(event.reason, event.code);
      on.lost();
      if (welcome) again();
      else check();
    };
  }

  // A browser does not say why a socket could not be opened, so the page asks.
  async function check() {
    try {
      const answer = await fetch('/device', { headers: { Authorization: `Bearer ${token}` } });
      if (answer.status === 401) return end((await answer.json()).reason);
    } catch {
      // No server answers. That says nothing about the token.
    }
    again();
  }

  function again() {
    clearTimeout(timer);
    if (!over) timer = setTimeout(open, Math.min(slowest, 300 * 2 ** tries++) * (0.75 + Math.random() / 2));
  }

  function end(reason, code) {
    over = true;
    clearTimeout(timer);
    window.removeEventListener('online', soon);
    on.ended(reason, code);
  }

  function soon() {
    tries = 0;
    if (socket.readyState === WebSocket.CLOSED) open();
  }

  window.addEventListener('online', soon);
  open();
  return {
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
  };
}
