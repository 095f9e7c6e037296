// One library's functions, each a jump through a slot. A slot first holds the way to `bind`, which opens the real
// library, fills every slot of this file and goes on to the function that was called. x86-64, System V calls.
//
// NAMES is a file of lines `FUNCTION name`.
    .macro FUNCTION name
    .text
    .globl \name
    .type \name, @function
\name:
    jmp *slot_\name(%rip)
first_\name:
    lea slot_\name(%rip), %r11
    jmp bind
    .size \name, . - \name
    .section .rodata
text_\name:
    .asciz "\name"
    .data
slot_\name:
    .quad first_\name
    .section .data.rel.ro, "aw"
    .quad text_\name, slot_\name
    .endm

    .section .data.rel.ro, "aw"
    .balign 8
    .globl lazy_table
    .hidden lazy_table
lazy_table:
#include NAMES
    .section .data.rel.ro, "aw"
    .quad 0, 0

    .text
bind: // all that a call may hand over in registers is kept
    push %rbp
    mov %rsp, %rbp
    push %rdi
    push %rsi
    push %rdx
    push %rcx
    push %r8
    push %r9
    push %r11
    sub $136, %rsp
    and $-16, %rsp
    movups %xmm0, (%rsp)
    movups %xmm1, 16(%rsp)
    movups %xmm2, 32(%rsp)
    movups %xmm3, 48(%rsp)
    movups %xmm4, 64(%rsp)
    movups %xmm5, 80(%rsp)
    movups %xmm6, 96(%rsp)
    movups %xmm7, 112(%rsp)
    call lazy_bind
    movups (%rsp), %xmm0
    movups 16(%rsp), %xmm1
    movups 32(%rsp), %xmm2
    movups 48(%rsp), %xmm3
    movups 64(%rsp), %xmm4
    movups 80(%rsp), %xmm5
    movups 96(%rsp), %xmm6
    movups 112(%rsp), %xmm7
    mov -8(%rbp), %rdi
    mov -16(%rbp), %rsi
    mov -24(%rbp), %rdx
    mov -32(%rbp), %rcx
    mov -40(%rbp), %r8
    mov -48(%rbp), %r9
    mov -56(%rbp), %r11
    mov %rbp, %rsp
    pop %rbp
    jmp *(%r11)
    .section .note.GNU-stack, "", @progbits
