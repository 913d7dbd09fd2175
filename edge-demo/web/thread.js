// One of the threads that the network works with; worker.js gives it its stack and room for its variables.

import { instantiate, now } from './library.js';

addEventListener('message', async ({ data: { module, memory, stack, variables } }) => {
  try {
    const progress = () => { throw new Error('a thread told its progress'); };
    const c = await instantiate(module, memory, { now, progress });
    c.__stack_pointer.value = stack;
    c.__wasm_init_tls(variables);
    for (;;) c.umedsam_thread();
  } catch (error) {
    postMessage(error.message);
  }
});
