// What the page shows is what the server said last; between two messages only the
// countdowns move. A tab's token lives in its sessionStorage: it survives a reload and
// a restart of the server, and no other tab has it.

import { connect } from './socket.js';
import { forget, render, tick, why } from './view.js';

const $ = id => document.getElementById(id);
const store = sessionStorage;
let socket = null;   // while signed in
let leaving = false; // this page asked to be signed out

function show(part) {
  for (const id of ['enter', 'signed-in', 'over']) $(id).hidden = !part.includes(id);
  $('link').hidden = !part.includes('signed-in');
}

function say(text) { $('notice').textContent = text; }

function link(up) {
  $('link').textContent = up ? 'Connected' : 'Reconnecting…';
  $('link').classList.toggle('up', up);
}

function signedIn(token) {
  leaving = false;
  forget();
  show(['signed-in']);
  link(false);
  socket = connect(token, {
    view(v) {
      const news = render(v);
      if (news) say(news);
      else if (!$('link').classList.contains('up')) say('');
      link(true);
      store.setItem('person', v.person);
    },
    error: say,
    lost() {
      link(false);
      say('The connection was lost. This device stays signed in; trying again.');
    },
    ended(reason, code) {
      socket = null;
      store.removeItem('token');
      say('');
      $('who').textContent = 'Signed out';
      $('over-why').textContent = leaving ? 'You signed out on this device.' : why(reason);
      $('over-code').textContent = code
        ? `The server closed the connection with code ${code} and the reason “${reason}”. This page does not reconnect.`
        : `The server answered 401 with the reason “${reason}”. This page does not reconnect.`;
      show(['over', 'enter']);
      $('over-title').focus();
    },
  });
}

async function signIn(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const asked = { person: form.get('person').trim(), device: form.get('device').trim() };
  say('');
  try {
    const answer = await fetch('/devices', { method: 'POST', body: JSON.stringify(asked) });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error);
    store.setItem('token', body.token);
    store.setItem('device', asked.device);
    signedIn(body.token);
    document.querySelector('h1').focus();
  } catch (error) {
    say(`You could not be signed in: ${error.message}`);
  }
}

// A person who clicks or types uses this device. The server is told of that once a
// second at most.
let uses = false;
let told = -Infinity;

function tell() {
  if (!uses || !socket || performance.now() - told < 1000) return;
  uses = false;
  told = performance.now();
  socket.send({ do: 'use' });
}

function used() {
  uses = Boolean(socket);
  tell();
}

function guess() {
  const agent = navigator.userAgent;
  const found = [[/iPad|Tablet/, 'Tablet'], [/iPhone|Android/, 'Phone'], [/Mac OS/, 'Mac'], [/Windows/, 'Windows PC'], [/Linux/, 'Linux laptop']];
  return (found.find(([pattern]) => pattern.test(agent)) ?? [, 'Browser'])[1];
}

$('devices').addEventListener('click', event => {
  const row = event.target.closest('button')?.closest('li');
  if (!row || !socket) return;
  leaving = row.classList.contains('mine');
  socket.send({ do: 'end', id: row.dataset.id });
});
$('end-others').addEventListener('click', () => socket?.send({ do: 'end others' }));
document.querySelector('form').addEventListener('submit', signIn);
for (const kind of ['pointerdown', 'keydown']) document.addEventListener(kind, used, { passive: true });
setInterval(() => { tick(); tell(); }, 250);

$('person').value = store.getItem('person') ?? new URLSearchParams(location.hash.slice(1)).get('person');
$('device').value = store.getItem('device') ?? guess();
if (store.getItem('token')) signedIn(store.getItem('token'));
else show(['enter']);
