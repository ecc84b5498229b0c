// A phone in a browser: registers, takes each call, says what it sees and hears. Driven from drive.mjs.
import JsSIP from "jssip";

const say = (event, more = {}) => window.say(JSON.stringify({ event, ...more }));
let agent, session, analyser;

function listen(stream) {
  const context = new AudioContext();
  analyser = context.createAnalyser();
  analyser.fftSize = 8192;
  context.createMediaStreamSource(stream).connect(analyser);
}

// The strongest tone that is heard now, in hertz; 0 for silence.
window.heard = () => {
  if (!analyser) return 0;
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  let best = 0;
  bins.forEach((level, bin) => { if (level > bins[best]) best = bin; });
  return bins[best] < -70 ? 0 : (best * analyser.context.sampleRate) / analyser.fftSize;
};

window.packets = async () => {
  let received = 0;
  for (const report of (await session.connection.getStats()).values()) {
    if (report.type === "inbound-rtp") received += report.packetsReceived;
  }
  return received;
};

window.hangUp = () => session.terminate();

window.start = ({ url, user, realm, password }) => {
  agent = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(url)],
    uri: `sip:${user}@${realm}`,
    password,
    register_expires: 120,
    session_timers: false,
  });
  agent.on("registered", () => say("registered"));
  agent.on("registrationFailed", ({ cause }) => say("registration_failed", { cause }));
  agent.on("disconnected", () => say("disconnected"));
  agent.on("newRTCSession", ({ session: call }) => {
    session = call;
    call.on("ended", ({ originator }) => say("ended", { originator }));
    call.on("failed", ({ originator, cause }) => say("failed", { originator, cause }));
    call.on("confirmed", () => say("talking"));
    call.on("icecandidate", ({ ready }) => ready());
    call.on("peerconnection", ({ peerconnection }) => {
      peerconnection.addEventListener("track", ({ streams }) => {
        const audio = new Audio();
        audio.srcObject = streams[0];
        audio.play();
        listen(streams[0]);
      });
    });
    say("ringing");
    call.answer({ mediaConstraints: { audio: true, video: false } });
  });
  agent.start();
};
