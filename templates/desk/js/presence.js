// The agent's presence is set as soon as it is chosen: a list that says "Away" while conversations still come
// would lie. Without this script there is a button.

const presence = document.querySelector(".presence");

async function setPresence() {
  const select = presence.querySelector("select");
  const said = presence.querySelector("[role=status]");
  try {
    const response = await fetch(presence.action, {
      method: "POST",
      headers: csrfHeader,
      body: new URLSearchParams(new FormData(presence)),
    });
    await pageOf(response);
    if (!response.ok) throw new Error(response.status);
    dressPresence(select.value);
    said.textContent = `Set: ${select.selectedOptions[0].textContent}`;
  } catch {
    select.value = presence.dataset.now;
    said.textContent = "Not set. Try again.";
  }
}

function dressPresence(value) {
  const select = presence.querySelector("select");
  presence.dataset.now = value;
  select.value = value;
  select.className = `is-${value}`;
}

// It may have been set in another tab.
function syncPresence(page) {
  const now = page.querySelector(".presence")?.dataset.now;
  if (presence !== null && now !== undefined && !presence.matches(":focus-within")) dressPresence(now);
}

if (presence !== null) {
  const said = document.createElement("span");
  said.className = "hidden";
  said.setAttribute("role", "status");
  presence.append(said);
  presence.querySelector("button").hidden = true;
  presence.querySelector("select").addEventListener("change", setPresence);
}
