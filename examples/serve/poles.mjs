// A loop that owns itself: poles on carts, with physics of its own, balanced by a policy that `townlet serve` serves.
//
//   townlet train --env gymnasium:CartPole-v1 --total-steps 65536 --run-dir pole
//   townlet serve pole --greedy
//   node poles.mjs ADDRESS [POLES] [TICKS]       (Node 20: node --experimental-websocket poles.mjs ...)
import { PolicyClient } from "./policy_client.mjs";

const [address, poles = "10", ticks = "500"] = process.argv.slice(2);
const [GRAVITY, POLE_MASS, TOTAL_MASS, HALF, FORCE, STEP] = [9.8, 0.1, 1.1, 0.5, 10, 0.02];

/** A cart: place, speed, angle and turning of its pole, as Barto, Sutton & Anderson (1983) describe them. */
class Cart {
  constructor(number) {
    this.number = number;
    this.lives = 0;
    this.begin();
  }
  begin() {
    this.id = `pole ${this.number}, life ${++this.lives}`;
    this.state = Float32Array.from({ length: 4 }, () => 0.1 * Math.random() - 0.05);
    this.age = 0;
  }
  /** Pushes it left (0) or right (1) for a fiftieth of a second. */
  push(action) {
    const [place, speed, angle, turning] = this.state;
    const [sin, cos] = [Math.sin(angle), Math.cos(angle)];
    const push = ((action === 1 ? FORCE : -FORCE) + POLE_MASS * HALF * turning ** 2 * sin) / TOTAL_MASS;
    const turn = (GRAVITY * sin - cos * push) / (HALF * (4 / 3 - (POLE_MASS * cos ** 2) / TOTAL_MASS));
    const faster = push - (POLE_MASS * HALF * turn * cos) / TOTAL_MASS;
    const change = [speed, faster, turning, turn];
    this.state.forEach((one, index) => (this.state[index] = one + STEP * change[index]));
    this.age++;
    return Math.abs(this.state[0]) <= 2.4 && Math.abs(this.state[2]) <= (12 * Math.PI) / 180;
  }
}

const client = await PolicyClient.connect(address);
const [[group, policy]] = Object.entries(client.hello.groups);
const [name] = Object.keys(policy.observations);
console.log(`policy ${policy.policy.slice(0, 12)} for ${policy.world}: ${policy.vocabulary.join(", ")}`);

const carts = Array.from({ length: Number(poles) }, (_, number) => new Cart(number));
const ages = [];
let fallen = [];
for (let tick = 0; tick < Number(ticks); tick++) {
  const seen = new Float32Array(carts.flatMap(({ state }) => [...state]));
  const agents = carts.map(({ id }) => id);
  const { actions } = await client.act({ group, tick, agents, observations: { [name]: seen }, end: fallen });
  fallen = [];
  carts.forEach((cart, row) => {
    if (cart.push(actions[row])) return;
    ages.push(cart.age);
    fallen.push(cart.id);
    cart.begin();
  });
}
const left = carts.map(({ age }) => age);
console.log(`${ages.length} poles fell; the others have stood for ${Math.min(...left)} to ${Math.max(...left)} ticks`);
client.close();
