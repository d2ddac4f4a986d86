// The texts of the session are kept in memory alone: a reload logs in again, and no script of another
// page finds them in a storage.
let session = null

const $ = id => document.getElementById(id)
const form = values => new URLSearchParams(values)

function show(notice) {
  $('notice').textContent = notice
  $('enter').hidden = session !== null
  $('inside').hidden = session === null
}

// drop forgets the session, because its server has.
function drop(notice) {
  session = null
  show(notice)
}

$('enter').addEventListener('submit', async event => {
  event.preventDefault()
  const answer = await fetch('login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user: $('user').value, password: $('password').value }),
  })
  if (!answer.ok) {
    show(answer.status === 400 ? 'That is not the password.' : 'Try again later.')
    return
  }
  session = await answer.json()
  $('password').value = ''
  show('')
  ask('GET')
  follow()
})

// renewing is the refresh that is under way: two requests that find the access text dead share it.
let renewing = null
const refresh = () => renewing ??= renew().finally(() => { renewing = null })

// renew takes the next pair of texts, and reports whether there is one. A server that could not tell is
// asked again later, with the same text.
async function renew() {
  const answer = await fetch('token', { method: 'POST', body: form({ grant_type: 'refresh_token', refresh_token: session.refresh_token }) })
  if (answer.ok) {
    session = await answer.json()
    return true
  }
  if (answer.status === 400) drop('The session has ended. Log in again.')
  return false
}

// call asks with the access text, and once more with the next one if that is dead. Another request may
// have refreshed the session meanwhile.
async function call(path, options) {
  for (let tries = 0; session !== null; tries++) {
    const used = session
    const answer = await fetch(path, { ...options, headers: { Authorization: 'Bearer ' + used.access_token } })
    if (answer.status !== 401 || tries > 0) return answer
    if (used === session && !await refresh()) return answer
  }
}

async function ask(method) {
  const answer = await call('api/files', { method })
  if (session === null || !answer) return
  if (answer.status === 403) return show('You may not do that.')
  if (!answer.ok) return show('Try again later.')
  const { owner, files } = await answer.json()
  $('who').textContent = owner
  $('files').replaceChildren(...files.map(name => Object.assign(document.createElement('li'), { textContent: name })))
  show('')
}

// follow reads the stream of events. A stream that ends is opened again while the session lives.
async function follow() {
  while (session !== null) {
    const answer = await call('api/events', {})
    if (!answer?.ok) return
    $('stream').textContent = 'open'
    const reader = answer.body.getReader()
    try {
      while (!(await reader.read()).done);
    } catch {} // the server has gone: ask again
    $('stream').textContent = 'closed'
  }
}

$('ask').addEventListener('click', () => ask('GET'))
$('delete').addEventListener('click', () => ask('DELETE'))
$('refresh').addEventListener('click', async () => { if (await refresh()) show('Refreshed.') })
$('leave').addEventListener('click', async () => {
  const answer = await fetch('revoke', { method: 'POST', body: form({ token: session.refresh_token }) })
  if (answer.ok) drop('Logged out.')
  else show('Try again later.')
})
