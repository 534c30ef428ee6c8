// The agent's conversations side by side: those that begin or end meanwhile come and go without a reload.

const side = document.body.classList.contains("at-side");

function openTalk(root) {
  const talk = new Talk(root);
  talks.push(talk);
  if (root.querySelector(".send-file") !== null) new Files(talk).listen();
}

function syncColumns(page) {
  const box = document.getElementById("side");
  const fresh = page.getElementById("side");
  // The first one, or none any more: the page looks different then.
  if ((box === null) !== (fresh === null)) {
    location.reload();
    return;
  }
  if (box === null) return;
  for (const talk of [...talks]) {
    if (page.getElementById(talk.root.id) !== null) continue;
    talks.splice(talks.indexOf(talk), 1);
    talk.root.remove();
  }
  for (const column of fresh.children) {
    if (document.getElementById(column.id) !== null) continue;
    box.append(document.importNode(column, true));
    openTalk(box.lastElementChild);
  }
  for (const hint of box.querySelectorAll(".hint")) hint.hidden = false;
}
