// Exchanges a key for a cookie that no script can read. A header cannot be sent by a foreign form.
'use strict';

document.querySelector('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const key = document.querySelector('#key');
  const said = document.querySelector('#said');
  try {
    const headers = { Authorization: 'Bearer ' + key.value.trim() };
    const answer = await fetch('/page/sign-in', { method: 'POST', headers });
    if (answer.ok) return location.assign('/');
    said.textContent = (await answer.json()).detail;
  } catch {
    said.textContent = 'The order service does not answer.';
  }
  key.select();
});
