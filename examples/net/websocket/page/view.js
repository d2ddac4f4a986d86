// The list of devices and its countdowns.

const $ = id => document.getElementById(id);
const icons = [[/tablet|ipad|kindle/i, 'tablet'], [/phone|pixel|android|galaxy/i, 'phone'], [/tv|screen|desktop|pc|kiosk|desk/i, 'screen']];
const soon = 0.25; // of its time is left

let shown = null; // the last view
let at = 0;       // when it came, by performance.now()

const now = () => shown.now + performance.now() - at;

// forget is for another device than the one before.
export function forget() {
  shown = null;
  $('devices').replaceChildren();
}

// render shows a view, and returns what a person should hear of, if anything.
export function render(view) {
  const before = new Map((shown?.devices ?? []).map(d => [d.id, d]));
  shown = { ...view, devices: view.devices ?? [], ended: view.ended ?? [] };
  at = performance.now();
  shown.devices.sort((a, b) => (b.id === shown.you) - (a.id === shown.you));
  $('who').textContent = `Signed in as ${shown.person}`;
  $('another').href = '/#' + new URLSearchParams({ person: shown.person });
  $('end-others').disabled = shown.devices.length < 2;
  rows($('devices'));
  past();
  tick();
  rules();
  return news(before);
}

function news(before) {
  if (before.size === 0) return '';
  const gone = shown.ended.find(d => before.has(d.id));
  if (gone) return `${gone.name}: ${short(gone.reason)}.`;
  const come = shown.devices.find(d => !before.has(d.id));
  return come ? `${come.name} signed in.` : '';
}

// rows keeps the elements of devices that stay, and the focus with them.
function rows(list) {
  const had = new Map([...list.children].map(row => [row.dataset.id, row]));
  shown.devices.forEach((d, i) => {
    const row = had.get(d.id) ?? $('device-row').content.firstElementChild.cloneNode(true);
    had.delete(d.id);
    const mine = d.id === shown.you;
    row.dataset.id = d.id;
    row.dataset.expires = d.expires;
    row.classList.toggle('mine', mine);
    row.querySelector('strong').textContent = d.name || 'A device without a name';
    row.querySelector('.own').hidden = !mine;
    row.querySelector('use').setAttribute('href', '#' + (icons.find(([p]) => p.test(d.name)) ?? [, 'laptop'])[1]);
    const button = row.querySelector('button');
    button.textContent = 'Sign out';
    button.setAttribute('aria-label', mine ? 'Sign out this device' : `Sign out ${d.name}`);
    if (list.children[i] !== row) list.insertBefore(row, list.children[i] ?? null);
  });
  for (const row of had.values()) {
    if (row.contains(document.activeElement)) document.querySelector('h1').focus();
    row.remove();
  }
}

function past() {
  $('past').hidden = shown.ended.length === 0;
  $('ended').replaceChildren(...shown.ended.map(d => {
    const row = document.createElement('li'), name = document.createElement('b'), how = document.createElement('span');
    name.textContent = d.name;
    how.textContent = `${short(d.reason)}, ${new Date(d.endedAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })}`;
    row.append(name, how);
    return row;
  }));
}

function rules() {
  const mine = shown.devices.find(d => d.id === shown.you);
  const cap = mine ? `, this one until ${new Date(mine.cap).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })} at the latest` : '';
  $('rules').textContent = `A device stays signed in for ${long(shown.ttl)} after its last use${cap}. A click or a key press here counts as use; leaving the page open does not.`;
}

// tick moves the countdowns.
export function tick() {
  if (!shown) return;
  for (const row of $('devices').children) {
    const d = shown.devices.find(d => d.id === row.dataset.id);
    const left = Math.max(0, d.expires - now());
    const late = left <= shown.ttl * soon;
    row.classList.toggle('late', late);
    row.querySelector('.soon').hidden = !late;
    put(row.querySelector('.time'), clock(left));
    row.querySelector('i').style.transform = `translateX(${100 * Math.min(0, left / shown.ttl - 1)}%)`;
    put(row.querySelector('.state'), `${d.connected ? 'Connected' : 'Not connected'} · ${ago(now() - d.lastUsed)}`);
  }
}

// put leaves a text that stays as it is alone, and what is selected of it.
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function clock(ms) {
  const s = Math.ceil(ms / 1000), two = n => String(n).padStart(2, '0');
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

function ago(ms) {
  const s = Math.floor(ms / 1000);
  if (s < 3) return 'used just now';
  return s < 120 ? `used ${s} s ago` : s < 3600 ? `used ${Math.floor(s / 60)} min ago` : `used ${Math.floor(s / 3600)} h ago`;
}

function long(ms) {
  const s = Math.round(ms / 1000);
  return s % 60 ? `${s} seconds` : s === 60 ? 'a minute' : `${s / 60} minutes`;
}

function short(reason) {
  return { revoked: 'signed out', subject: 'signed out with all others', evicted: 'made room for a new device', 'ran out': 'ran out' }[reason] ?? reason;
}

// why tells the person at a device that was signed out.
export function why(reason) {
  const mine = shown && [...shown.devices, ...shown.ended].find(d => d.id === shown.you);
  switch (reason) {
    case 'revoked': return 'Another device signed this one out.';
    case 'subject': return 'Another device chose “Sign out everywhere else”.';
    case 'evicted': return 'There were too many devices. This one was unused for longest, and made room for a new one.';
    case 'ran out': return mine && mine.expires >= mine.cap
      ? 'It reached the longest time that a device may stay signed in.'
      : `It was not used for ${shown ? long(shown.ttl) : 'too long'}, and ran out.`;
  }
  return 'The server does not know this device any more.';
}
