// Drives the endpoints and the middleware at the address of its argument with oauth4webapi, and exits
// with an error where an answer is not what that library takes.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'

const base = process.argv[2]
const insecure = { [oauth.allowInsecureRequests]: true }
const as = {
  issuer: base,
  token_endpoint: base + '/token',
  revocation_endpoint: base + '/revoke',
  introspection_endpoint: base + '/introspect',
  device_authorization_endpoint: base + '/device',
}
const secret = 'app s&cret%'
const clients = {
  basic: [{ client_id: 'app' }, oauth.ClientSecretBasic(secret)],
  post: [{ client_id: 'app' }, oauth.ClientSecretPost(secret)],
  none: [{ client_id: 'public' }, oauth.None()],
}

async function logIn(client) {
  const authorization = client.client_id === 'app' ? { authorization: 'Basic ' + btoa('app:' + encodeURIComponent(secret)) } : { authorization: 'Basic ' + btoa('public:') }
  const answer = await fetch(base + '/login', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...authorization },
    body: JSON.stringify({ user: 'ana', secret: 'a' }),
  })
  assert.equal(answer.status, 200)
  return answer.json()
}

async function refresh([client, auth], text, parameters) {
  const answer = await oauth.refreshTokenGrantRequest(as, client, auth, text, { ...insecure, additionalParameters: parameters })
  return oauth.processRefreshTokenResponse(as, client, answer)
}

async function introspect([client, auth], text) {
  const answer = await oauth.introspectionRequest(as, client, auth, text, insecure)
  return oauth.processIntrospectionResponse(as, client, answer)
}

async function revoke([client, auth], text) {
  return oauth.processRevocationResponse(await oauth.revocationRequest(as, client, auth, text, insecure))
}

async function call(path, text) {
  const answer = await oauth.protectedResourceRequest(text, 'GET', new URL(base + path), undefined, undefined, insecure)
  return answer.text()
}

// refusedWith expects a challenge with the parameters.
const refusedWith = (status, parameters) => error => {
  assert(error instanceof oauth.WWWAuthenticateChallengeError, error)
  assert.equal(error.status, status)
  assert.equal(error.cause[0].scheme, 'bearer')
  assert.deepEqual({ ...error.cause[0].parameters }, { realm: 'lapse', ...parameters })
  return true
}

// failsWith expects an error of RFC 6749 section 5.2.
const failsWith = code => error => {
  assert(error instanceof oauth.ResponseBodyError, error)
  assert.equal(error.status, 400)
  assert.equal(error.error, code)
  return true
}

for (const [name, client] of Object.entries(clients)) {
  const first = await logIn(client[0])
  assert.equal(await call('/who', first.access_token), 'ana', name)

  const second = await refresh(client, first.refresh_token)
  assert.equal(second.token_type, 'bearer')
  assert(second.expires_in > 0)
  assert.equal(second.scope, 'read write')
  assert.equal(await call('/who', second.access_token), 'ana')

  const told = await introspect(client, second.access_token)
  assert.equal(told.active, true)
  assert.equal(told.sub, 'ana')
  assert.equal(told.client_id, client[0].client_id)

  const many = await Promise.all(Array.from({ length: 32 }, () => refresh(client, second.refresh_token, { scope: 'read' })))
  assert.deepEqual(new Set(many.map(pair => pair.access_token + pair.refresh_token)).size, 1)
  assert.equal(many[0].scope, 'read')

  await assert.rejects(refresh(client, many[0].refresh_token, { scope: 'read admin' }), failsWith('invalid_scope'))
  await assert.rejects(refresh(client, 'lapse_refresh_x'), failsWith('invalid_grant'))
  await assert.rejects(call('/write', many[0].access_token), refusedWith(403, { error: 'insufficient_scope', scope: 'read write admin' }))

  await revoke(client, many[0].access_token)
  await revoke(client, many[0].access_token)
  await revoke(client, 'unknown')
  assert.deepEqual(await introspect(client, many[0].refresh_token), { active: false })
  await assert.rejects(call('/who', many[0].access_token), refusedWith(401, { error: 'invalid_token' }))
  await assert.rejects(refresh(client, many[0].refresh_token), failsWith('invalid_grant'))
}

// A session is its client's own.
const pair = await logIn(clients.none[0])
await assert.rejects(refresh(clients.basic, pair.refresh_token), failsWith('invalid_grant'))
await assert.rejects(revoke(clients.basic, pair.refresh_token), failsWith('invalid_grant'))
assert.equal(await call('/who', pair.access_token), 'ana')

// A wrong secret is 401 with a challenge of Basic, and other grants are not known.
const [client] = clients.basic
await assert.rejects(refresh([client, oauth.ClientSecretBasic('wrong')], pair.refresh_token), error => error.status === 401 && error.cause[0].scheme === 'basic')
const grant = await oauth.genericTokenEndpointRequest(as, client, clients.basic[1], 'password', { username: 'ana', password: 'a' }, insecure)
await assert.rejects(oauth.processGenericTokenEndpointResponse(as, client, grant), failsWith('unsupported_grant_type'))
// A device logs in once a user has approved it, and its session is its client's own.
const [tv, tvAuth] = clients.none
async function poll(code) {
  return oauth.processDeviceCodeResponse(as, tv, await oauth.deviceCodeGrantRequest(as, tv, tvAuth, code, insecure))
}
const codes = await oauth.processDeviceAuthorizationResponse(as, tv, await oauth.deviceAuthorizationRequest(as, tv, tvAuth, { scope: 'read' }, insecure))
assert.equal(codes.interval, 5)
await assert.rejects(poll(codes.device_code), failsWith('authorization_pending'))
await assert.rejects(poll(codes.device_code), failsWith('slow_down'))
assert.equal((await fetch(base + '/approve?user_code=' + codes.user_code)).status, 200)
const granted = await poll(codes.device_code)
assert.equal(await call('/who', granted.access_token), 'ana')
await refresh(clients.none, granted.refresh_token)
await assert.rejects(poll('x'), failsWith('invalid_grant'))
console.log('oauth4webapi is content')
