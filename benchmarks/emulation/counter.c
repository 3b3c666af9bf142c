/* Counts the instructions that qemu emulates, and writes how many there were to stderr whenever the program asks for a
 * priority (getpriority), which programs that run here do for no other reason.
 *
 * The few declarations that it needs of qemu's plugin interface stand here, so that no header has to be installed:
 * https://www.qemu.org/docs/master/devel/tcg-plugins.html. API is the version of that interface. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t plugin_id;
struct block;
struct plugin_info;

size_t qemu_plugin_tb_n_insns(const struct block *block);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*callback)(plugin_id, struct block *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct block *block, void (*callback)(unsigned, void *), int registers, void *data);
typedef void on_call(plugin_id, unsigned core, int64_t number, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                     uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_syscall_cb(plugin_id id, on_call *callback);

enum { GETPRIORITY = 141 }; /* on aarch64 */

int qemu_plugin_version = API;

static uint64_t executed;

static void on_execution(unsigned core, void *instructions)
{
    (void)core;
    __atomic_fetch_add(&executed, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void on_translation(plugin_id id, struct block *block)
{
    (void)id;
    void *instructions = (void *)(uintptr_t)qemu_plugin_tb_n_insns(block);
    qemu_plugin_register_vcpu_tb_exec_cb(block, on_execution, 0, instructions);
}

static void on_system_call(plugin_id id, unsigned core, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                           uint64_t e, uint64_t f, uint64_t g, uint64_t h)
{
    (void)id, (void)core, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
    if (number == GETPRIORITY)
        fprintf(stderr, "instructions %" PRIu64 "\n", __atomic_load_n(&executed, __ATOMIC_RELAXED));
}

int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc, char **argv)
{
    (void)info;
    (void)argc;
    (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    return 0;
}
