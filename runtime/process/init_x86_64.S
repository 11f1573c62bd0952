# pid 1 of a container with "init: true": passes signals on to its child and reaps what is left over.
# Signals arrive blocked (the mask survives execve(2)) and are taken one by one. No memory is written but the stack.
# Registers: r12d the child's pid. Calls: arch/x86/entry/syscalls/syscall_64.tbl.
        .intel_syntax noprefix
        .globl  _start
        .text
_start:
        mov     r12d, [rip + child]
wait_signal:
        mov     eax, 128                # rt_sigtimedwait(set, NULL, NULL, 8)
        lea     rdi, [rip + signals]
        xor     esi, esi
        xor     edx, edx
        mov     r10d, 8
        syscall
        test    eax, eax
        js      wait_signal             # EINTR
        cmp     eax, 17                 # SIGCHLD
        je      reap
        mov     esi, eax
        mov     edi, r12d
        mov     eax, 62                 # kill(child, signal)
        syscall
        jmp     wait_signal
reap:
        mov     eax, 61                 # wait4(-1, &status, WNOHANG, NULL)
        mov     rdi, -1
        lea     rsi, [rsp - 16]
        mov     edx, 1
        xor     r10d, r10d
        syscall
        test    eax, eax
        jle     wait_signal
        cmp     eax, r12d
        jne     reap
        mov     edi, [rsp - 16]
        mov     eax, edi
        and     eax, 127                # the signal that ended it
        jz      exited
        lea     edi, [rax + 128]
        jmp     leave
exited:
        shr     edi, 8
        and     edi, 255
leave:
        mov     eax, 231                # exit_group(code)
        syscall
        .balign 8
signals:
        .quad   0                       # the set to wait for, as sigset_t of the kernel
child:
        .quad   0                       # the pid of the program
